"""Clips from files to batches by loader processes, against the same work without sending it:
`python -m benchmarks loader`.

torch's DataLoader, used as fairseq uses it, makes batches of 8 clips at 32 kHz from files of 10 s of noise. The floor
does the same work but for the transport: as many bare processes take the same batches from the same dataset and collate
them, in a plain loop, and throw them away. On both sides the time includes starting the processes.

Crops: 2 s at random places of files of 60 s, by `read_audio`, against `soundfile.read` of the whole file.

Pieces: 10 s at random places of a file of an hour, against a loose file of 10 s, both by `read_audio`.
"""

import multiprocessing
import os
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch.utils.data import DataLoader

from benchmarks.timing import Row, in_turns, rate_row, time_row
from maskspec_fairseq.audio.pieces import Piece
from maskspec_fairseq.audio.read import read_audio
from maskspec_fairseq.data.audio_dataset import AudioDataset
from maskspec_fairseq.data_dir.manifest import Manifest

RATE, CLIP_SEC, BATCH = 32000, 10, 8
FORMATS = {"ogg": (44100, 64), "wav": (RATE, 512), "flac": (RATE, 256)}  # Hz, and clips per round
FILES = 32  # a round reads them several times
LONG_SEC, CROP_SEC, CROPS = 60, 2, 20
HOUR_SEC, PIECE_RATE, PIECES = 3600, 44100, 10
PIECE_FORMATS = ("wav", "flac", "ogg", "mp3")


def write_noise(directory: Path, extension: str, rate: int, seconds: int, files: int) -> list[str]:
    rng = np.random.default_rng(1)
    names = [f"{number}.{extension}" for number in range(files)]
    for name in names:
        with soundfile.SoundFile(directory / name, "w", rate, channels=1) as file:
            for _ in range(seconds):  # libsndfile 1.2.2 crashes if a minute of ogg is written at once
                file.write(rng.uniform(-0.5, 0.5, rate))
    return names


def batches_of(dataset: AudioDataset) -> list[list[int]]:
    return np.arange(len(dataset)).reshape(-1, BATCH).tolist()


def make_batches(dataset: AudioDataset, batches: list[list[int]]) -> None:
    torch.set_num_threads(1)  # as torch's loader does; a fork has none of the threads that it would wait for
    for batch in batches:
        dataset.collater([dataset[index] for index in batch])


def floor(dataset: AudioDataset, workers: int) -> None:
    context = multiprocessing.get_context("fork")
    batches = batches_of(dataset)
    processes = [
        context.Process(target=make_batches, args=(dataset, batches[number::workers])) for number in range(workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def load(dataset: AudioDataset, workers: int) -> None:
    loader: DataLoader = DataLoader(
        dataset,
        batch_sampler=batches_of(dataset),
        collate_fn=dataset.collater,
        num_workers=workers,
        multiprocessing_context="fork",
    )
    for sample in loader:
        assert sample["nsentences"] == BATCH


def loader_row(directory: Path, extension: str, workers: int) -> Row:
    rate, clips = FORMATS[extension]
    names = write_noise(directory, extension, rate, CLIP_SEC, FILES) * (clips // FILES)
    dataset = AudioDataset(Manifest(str(directory), names, [CLIP_SEC * rate] * clips), RATE, CLIP_SEC, training=True)
    seconds = in_turns({"ours": lambda: load(dataset, workers), "theirs": lambda: floor(dataset, workers)})
    return rate_row(
        f"loader, {rate / 1000:g} kHz {extension} to {RATE // 1000} kHz batches, {workers} worker{'s'[: workers - 1]}",
        "the same batches, sent to nobody",
        "clips",
        clips,
        seconds["ours"],
        seconds["theirs"],
        "at least 0.9",
    )


def crop_row(directory: Path, extension: str) -> Row:
    rate = FORMATS[extension][0]
    path = os.path.join(directory, write_noise(directory, extension, rate, LONG_SEC, 1)[0])

    def crops() -> None:
        rng = np.random.default_rng(1)
        for _ in range(CROPS):
            read_audio(path, CROP_SEC, rng)

    seconds = in_turns({"ours": crops, "theirs": lambda: soundfile.read(path, dtype="float32")})
    return time_row(
        f"a crop of {CROP_SEC} s out of {LONG_SEC} s of {extension}",
        "decoding the file",
        [value / CROPS for value in seconds["ours"]],
        seconds["theirs"],
        note=f"a crop has {CROP_SEC / LONG_SEC:.3f} of the samples",
    )


def piece_row(directory: Path, extension: str) -> Row:
    paths = []
    for seconds in (HOUR_SEC, CLIP_SEC):
        folder = directory / f"{seconds} s"
        folder.mkdir(exist_ok=True)
        paths.append(os.path.join(folder, write_noise(folder, extension, PIECE_RATE, seconds, 1)[0]))
    hour, loose = paths
    rng = np.random.default_rng(1)

    def pieces() -> None:
        for first in rng.integers(0, (HOUR_SEC - CLIP_SEC) * PIECE_RATE, PIECES):
            read_audio(str(Piece(hour, first, CLIP_SEC * PIECE_RATE)))

    def files() -> None:
        for _ in range(PIECES):
            read_audio(loose)

    times = in_turns({"ours": pieces, "theirs": files})
    ours, theirs = ([seconds / PIECES for seconds in times[way]] for way in ("ours", "theirs"))
    work = f"a piece of {CLIP_SEC} s out of an hour of {extension}"
    return time_row(work, "a loose file of 10 s", ours, theirs, "at most 1.2")


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        loaders = [loader_row(directory, extension, workers) for extension in FORMATS for workers in (1, 2)]
        crops = [crop_row(directory, extension) for extension in FORMATS]
        return loaders + crops + [piece_row(directory, extension) for extension in PIECE_FORMATS]
