"""Time random access to the clips of packs against loose files: `python -m benchmarks packs`, or, with options and ten
times the clips, `python -m benchmarks.packs`.

Makes short clips in a temporary directory, packs them by `maskspec-build pack` and into an HDF5 file of waveforms (if
h5py is installed), and reads all of them in a random order by `read_audio`, in turns. Prints the median time per clip,
and its ratio to that of loose files: from the page cache, where only the processor counts, and from the disk, as for a
corpus that is larger than the memory.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable, Optional

import numpy as np
import soundfile
from tqdm import tqdm

from benchmarks.timing import Row, in_turns, time_row
from maskspec_fairseq.audio.read import read_audio
from maskspec_fairseq.data_dir.manifest import Manifest, read_manifest, write_manifest

BUILD = [sys.executable, "-m", "maskspec_fairseq.cli.build"]
FOLDERS = 50
COLD_CLIPS = 1000  # per round, at most


def make_loose(directory: Path, clips: int, rate: int, seconds: float, extension: str) -> list[np.ndarray]:
    """Write files of noise in folders, and a manifest; returns the samples of each, int16 (T,)."""
    rng = np.random.default_rng(1)
    names, samples = [], []
    for number in tqdm(range(clips), unit="file", desc="clips"):
        names.append(f"audio/{number % FOLDERS:02d}/{number:06d}.{extension}")
        samples.append(rng.integers(-10000, 10000, round(seconds * rate), dtype=np.int16))
        (directory / names[-1]).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(directory / names[-1], samples[-1], rate)
    write_manifest(directory / "train.tsv", Manifest(str(directory.resolve()), names, [len(x) for x in samples]))
    return samples


def make_hdf5(path: Path, samples: list[np.ndarray], rate: int) -> list[str]:
    import h5py

    with h5py.File(path, "w") as file:
        waveform = file.create_dataset("waveform", shape=(len(samples), len(samples[0])), dtype=np.int16)
        for index, row in enumerate(samples):
            waveform[index] = row
        file.attrs["sample_rate"] = rate
    return [f"{path}:{index}" for index in range(len(samples))]


def full_paths(tsv: Path) -> list[str]:
    manifest = read_manifest(tsv)
    return [manifest.full_path(index) for index in range(len(manifest))]


def drop_from_cache(directory: Path) -> None:
    """Ask the system to drop the files below a directory from the page cache."""
    os.sync()  # pages that are not written yet would stay
    for path in directory.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def measure(
    kinds: dict[str, list[str]], rounds: int, clips: int, cold: Optional[Path] = None
) -> dict[str, list[float]]:
    """Seconds per clip for each kind and round; the kinds take turns, after a round that is not counted.

    Args:
        kinds: name -> paths of the clips.
        rounds: number of timed rounds.
        clips: how many clips of each kind are read per round, at most.
        cold: a directory whose files are dropped from the page cache before every turn; None to leave them there.
    """

    def prepare() -> None:
        if cold is not None:
            drop_from_cache(cold)

    def reading(paths: list[str]) -> Callable[[], None]:
        rng = np.random.default_rng(1)  # the same orders for all kinds

        def read() -> None:
            for index in rng.permutation(len(paths))[:clips]:
                read_audio(paths[index])

        return read

    ways = {name: reading(paths) for name, paths in kinds.items()}
    seconds = in_turns(ways, rounds, prepare=prepare)
    return {name: [value / clips for value in values] for name, values in seconds.items()}


def report(title: str, times: dict[str, list[float]]) -> None:
    print(title)
    loose = statistics.median(times["loose"])
    for kind, values in times.items():
        median = statistics.median(values)
        each = ", ".join(f"{1e6 * value:.0f}" for value in values)
        print(f"  {kind:6s}{1e6 * median:8.0f} us per clip, {median / loose:.2f} of loose files ({each})")


def make_kinds(directory: Path, clips: int, rate: int, seconds: float, extension: str) -> dict[str, list[str]]:
    """Kind -> the paths of its clips; HDF5 only if h5py is installed."""
    samples = make_loose(directory, clips, rate, seconds, extension)
    command = [*BUILD, "pack", str(directory), "--out", str(directory / "packed")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    kinds = {"loose": full_paths(directory / "train.tsv"), "zip": full_paths(directory / "packed" / "train.tsv")}
    try:
        kinds["hdf5"] = make_hdf5(directory / "waveforms.h5", samples, rate)
    except ImportError:
        print("h5py is not installed, so HDF5 is left out", file=sys.stderr)
    return kinds


def rows(clips: int = 1000, rounds: int = 5) -> list[Row]:
    """Wavs of 1 s at 16 kHz, from the page cache and from the disk."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        kinds = make_kinds(Path(name), clips, 16000, 1.0, "wav")
        for where, cold in (("the page cache", None), ("the disk", Path(name))):
            times = measure(kinds, rounds, clips, cold)
            for kind in list(kinds)[1:]:
                work = f"random access to a {kind} of 1 s wavs, per clip, from {where}"
                found.append(time_row(work, "loose files", times[kind], times["loose"], "at most 1.0"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=10000, help="(default 10000)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of each (default 1)")
    parser.add_argument("--sample-rate", type=int, default=16000, help="Hz (default 16000)")
    parser.add_argument("--format", default="wav", choices=["wav", "flac", "ogg", "mp3"], help="(default wav)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is taken (default 3)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        kinds = make_kinds(directory, args.clips, args.sample_rate, args.seconds, args.format)
        what = f"clips of {args.seconds} s at {args.sample_rate} Hz as {args.format}, median of {args.rounds} rounds"
        report(f"{args.clips} {what}, from the page cache", measure(kinds, args.rounds, args.clips))
        some = min(args.clips, COLD_CLIPS)
        report(f"{some} of these {what}, from the disk", measure(kinds, args.rounds, some, directory))


if __name__ == "__main__":
    main()
