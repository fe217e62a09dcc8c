"""What grows with the number of clips of a training: `python -m benchmarks growth`.

Manifests of 10,000, 100,000 and 2,000,000 lines name the same few wavs of 0.1 s. A fresh process reads one, makes the
dataset, its batches of 64 and fairseq's iterator of an epoch with a loader process, and takes batches without a model.
Start-up is from the manifest to the first batch; memory is by how much the peak of the main process grows until then;
the epoch is timed over its next batches. The peer is the smallest manifest.

A row more shares an epoch between 8 processes, each simulated with its own iterator and a dataset that reads nothing.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.memory import peak
from benchmarks.timing import Row, time_text
from maskspec_fairseq.data.audio_dataset import AudioDataset
from maskspec_fairseq.data_dir.manifest import Manifest, read_manifest

ROOT = Path(__file__).resolve().parents[1]
CLIPS = (10_000, 100_000, 2_000_000)
FILES, FRAMES, RATE, BATCH = 64, 1600, 16000, 64
TIMED_BATCHES = 100
PROCESSES, SHARED_CLIPS = 8, 100_003


class Numbers(AudioDataset):
    """Clips that are not read: a batch is the list of its clips' numbers."""

    def __getitem__(self, index: int) -> int:  # type: ignore[override]
        return index

    def collater(self, items: list[int]) -> list[int]:  # type: ignore[override]
        return items


def epoch_iterator(dataset: AudioDataset, processes: int = 1, process: int = 0, workers: int = 0) -> Iterator:
    """The batches of one of several training processes in the first epoch, as fairseq makes them."""
    from fairseq.data.iterators import EpochBatchIterator

    from maskspec_fairseq.data.resumable_iterator import ResumableIterator

    batches = dataset.batch_by_size(dataset.ordered_indices(), max_sentences=BATCH)
    iterator = EpochBatchIterator(
        dataset, dataset.collater, batches, num_shards=processes, shard_id=process, num_workers=workers
    )
    return ResumableIterator(iterator, update_freq=1).next_epoch_itr()


def shares(clips: int, processes: int) -> list[list[list[int]]]:
    """The batches of each of several processes in an epoch, without those that have no clip."""
    dataset = Numbers(Manifest("", ["a.wav"] * clips, [FRAMES] * clips), RATE, FRAMES / RATE, training=True)
    return [[batch for batch in epoch_iterator(dataset, processes, process) if batch] for process in range(processes)]


def write_clips(directory: Path) -> None:
    """Write the wavs, and a manifest of each size."""
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, (FILES, FRAMES))
    for number, waveform in enumerate(samples):
        soundfile.write(directory / f"{number:02d}.wav", waveform, RATE)
    for clips in CLIPS:
        with open(directory / f"{clips}.tsv", "w", encoding="utf-8") as stream:
            stream.write(f"{directory}\n")
            stream.writelines(f"{number % FILES:02d}.wav\t{FRAMES}\n" for number in range(clips))


def train_without_a_model(tsv: Path) -> dict[str, float]:
    """Seconds to the first batch, bytes of memory, and seconds per 1,000 clips after it, in this process."""
    before, start = peak(), time.perf_counter()
    dataset = AudioDataset(read_manifest(tsv), RATE, FRAMES / RATE, training=True)
    batches = epoch_iterator(dataset, workers=1)
    next(batches)
    started = time.perf_counter()
    memory = peak() - before
    for _ in range(TIMED_BATCHES):
        next(batches)
    each = (time.perf_counter() - started) / TIMED_BATCHES / BATCH
    return {"start": started - start, "memory": memory, "epoch": 1000 * each}


def measure(tsv: Path) -> dict[str, float]:
    """`train_without_a_model` in a fresh process."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.growth", str(tsv)]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout)


def shares_row() -> Row:
    """How evenly an epoch is shared, and whether a clip is in two shares or in none."""
    start = time.perf_counter()
    found = shares(SHARED_CLIPS, PROCESSES)
    batches = [len(share) for share in found]
    clips = [clip for share in found for batch in share for clip in batch]
    once = sorted(clips) == list(range(SHARED_CLIPS))
    return Row(
        f"an epoch of {SHARED_CLIPS:,} clips shared by {PROCESSES} processes: batches of the largest share",
        "the smallest share",
        str(max(batches)),
        str(min(batches)),
        max(batches) - min(batches),
        "at most 1",
        f"the ratio column has the difference; {'every clip is in one share' if once else 'NOT every clip is in one'}; "
        f"simulated in {time_text(time.perf_counter() - start)}",
    )


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        write_clips(Path(name))
        found = {clips: measure(Path(name) / f"{clips}.tsv") for clips in CLIPS}
    first, *others = CLIPS
    rows = []
    for clips in others:
        for key, what, text in (
            ("start", "from a manifest to the first batch", time_text),
            ("memory", "memory of it", lambda count: f"{count / 2**20:.0f} MiB"),
            ("epoch", "1,000 clips of an epoch without a model", time_text),
        ):
            ours, theirs = found[clips][key], found[first][key]
            rows.append(
                Row(f"{what}, {clips:,} clips", f"{first:,} clips", text(ours), text(theirs), ours / max(theirs, 1e-9))
            )
    return [*rows, shares_row()]


if __name__ == "__main__":
    print(json.dumps(train_without_a_model(Path(sys.argv[1]))))
