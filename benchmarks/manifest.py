"""Headers of 50,000 short wavs, read as `maskspec-build` reads them, against a loop of `soundfile.info`:
`python -m benchmarks manifest`.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.timing import Row, in_turns, rate_row
from maskspec_fairseq.audio import MIN_RATE
from maskspec_fairseq.corpora.builder import find_audio, read_headers

FILES, FOLDERS = 50000, 100


def write_wavs(directory: Path) -> None:
    """Write copies of one file of 0.1 s at 16 kHz."""
    soundfile.write(directory / "one.wav", np.random.default_rng(1).uniform(-0.5, 0.5, 1600), 16000)
    wav = (directory / "one.wav").read_bytes()
    for number in range(FOLDERS):
        (directory / f"{number:02d}").mkdir()
    for number in range(1, FILES):
        (directory / f"{number % FOLDERS:02d}" / f"{number:05d}.wav").write_bytes(wav)


def rows() -> list[Row]:
    workers = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        write_wavs(Path(name))
        paths = find_audio(Path(name))

        def ours() -> None:
            read_headers(name, find_audio(Path(name)), 0.0, MIN_RATE, workers)

        def theirs() -> None:
            for path in paths:
                soundfile.info(os.path.join(name, path))

        seconds = in_turns({"ours": ours, "theirs": theirs}, rounds=3)
    return [
        rate_row(
            f"headers of {FILES} wavs for a manifest, {workers} processes",
            "a loop of soundfile.info",
            "files",
            FILES,
            **seconds,
            target="at least 1.8",
            note="ours also finds the files, which the loop is given; a ratio of rates",
        )
    ]
