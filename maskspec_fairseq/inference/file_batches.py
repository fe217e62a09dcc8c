"""Encode many files: processes of their own decode them, and a batch may hold the windows of several files.

Shapes: K windows of W samples per file, B windows of a batch.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Callable, Generic, NamedTuple, Optional, TypeVar, Union

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.stream import stream_clip
from maskspec_fairseq.audio.windows import Window
from maskspec_fairseq.inference.audio_model import MAX_WINDOWS, AudioModel
from maskspec_fairseq.inference.precision import autocast
from maskspec_fairseq.inference.windowed_clips import load_in_order

MAX_LOADED_WINDOWS = 16  # of a file that is loaded as a whole; longer ones are read in blocks

Result = TypeVar("Result", covariant=True)
Cut = Callable[[Iterable[np.ndarray]], Iterator[Window]]
Progress = Callable[[float], None]


class FileEncoder(ABC, Generic[Result]):
    """What is computed of a file: how it is cut, what is computed of each window, and how that is put together.

    Attributes:
        model: on its device.
        size: W, at the model's rate.
        cut: a waveform in pieces -> its windows, of up to W samples each. It travels to the processes that load; the
            model does not.
    """

    model: AudioModel
    size: int
    cut: Cut

    @abstractmethod
    def encode(self, windows: Tensor, lengths: Tensor) -> Tensor:
        """Windows on the model's device, (B, W), of which lengths, (B,), are not padding -> (B, ...), rows."""

    @abstractmethod
    def join(self, rows: Tensor, num_samples: int) -> Result:
        """The rows of all windows of a file, float32 (K, ...) on the CPU, and its samples at the model's rate."""


class _LoadedFile(NamedTuple):
    """windows: float32 (K, W), padded with zeros. lengths: how many of the samples are not padding, for each."""

    windows: np.ndarray
    lengths: list[int]
    num_samples: int


class _CountedPieces:
    """The pieces of a waveform, and how many samples have been in them so far."""

    def __init__(self, pieces: Iterable[np.ndarray]) -> None:
        self.pieces = pieces
        self.num_samples = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for piece in self.pieces:
            self.num_samples += len(piece)
            yield piece


class _Files(Dataset):
    """Files as a `_LoadedFile`, None for one of too many windows, or the message of an `AudioError`."""

    def __init__(self, paths: Sequence[str], encoder: FileEncoder) -> None:
        self.paths, self.size, self.cut = paths, encoder.size, encoder.cut
        self.sample_rate, self.channel = encoder.model.sample_rate, encoder.model.channel

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Union[_LoadedFile, str, None]:
        pieces = self.pieces(index)
        try:
            windows = list(islice(self.cut(pieces), MAX_LOADED_WINDOWS + 1))
        except AudioError as error:
            return str(error)
        if len(windows) > MAX_LOADED_WINDOWS:
            return None
        padded = np.zeros((len(windows), self.size), dtype=np.float32)
        for row, window in zip(padded, windows):
            row[: len(window.samples)] = window.samples
        return _LoadedFile(padded, [len(window.samples) for window in windows], pieces.num_samples)

    def pieces(self, index: int) -> _CountedPieces:
        return _CountedPieces(stream_clip(self.paths[index], self.sample_rate, self.channel))

    def stream(self, index: int) -> Iterator[_LoadedFile]:
        """A file of any length, a window at a time."""
        pieces = self.pieces(index)
        for window in self.cut(pieces):
            samples = np.pad(window.samples, (0, self.size - len(window.samples)))
            yield _LoadedFile(samples[None], [len(window.samples)], pieces.num_samples)


@dataclass
class _File:
    """A file on its way.

    num_windows, num_samples: that have been read so far.
    rows: of the windows that have been encoded so far.
    is_read: whether no further window comes.
    problem: why it could not be read to its end.
    """

    num_windows: int = 0
    num_samples: int = 0
    rows: list[Tensor] = field(default_factory=list)
    is_read: bool = False
    problem: Optional[AudioError] = None

    @property
    def is_done(self) -> bool:
        return self.is_read and (self.problem is not None or len(self.rows) == self.num_windows)


def encode_files(
    encoder: FileEncoder[Result],
    paths: Sequence[str],
    batch_size: int = MAX_WINDOWS,
    workers: int = 0,
    precision: str = "float32",
    progress: Progress = lambda seconds: None,
) -> Iterator[Union[Result, AudioError]]:
    """Encode files of any length, with a few windows of them in memory at a time.

    Args:
        encoder: what is computed.
        paths: of the files.
        batch_size: how many windows, of any files, are encoded together; on a CPU at most `MAX_WINDOWS_ON_CPU`.
        workers: processes that load the files of up to `MAX_LOADED_WINDOWS` windows; 0 to load in this one.
        precision: see `autocast`.
        progress: is told the seconds of the current file that are encoded.

    Yields:
        For each file, in order, its result, or why it cannot be read (see `load_clip`).
    """
    model = encoder.model
    together = model.windows_together(batch_size)
    files = _Files(paths, encoder)
    queue: deque[_File] = deque()
    batch: list[tuple[_File, np.ndarray, int]] = []

    def encode_batch() -> None:
        owners, windows, lengths = zip(*batch)
        batch.clear()
        with torch.inference_mode(), autocast(model.device, precision):
            waveform = torch.from_numpy(np.stack(windows))  # (B, W)
            waveform = model.resample(waveform, model.sample_rate)  # checks, and moves to the device
            rows = encoder.encode(waveform, torch.tensor(lengths, device=model.device)).float().cpu()
        for owner, row in zip(owners, rows):
            owner.rows.append(row)

    def finished() -> Iterator[Union[Result, AudioError]]:
        while queue and queue[0].is_done:
            file = queue.popleft()
            yield file.problem or encoder.join(torch.stack(file.rows), file.num_samples)

    for index, loaded in enumerate(load_in_order(files, min(workers, len(paths) - 1))):
        file = _File()
        queue.append(file)
        try:
            if isinstance(loaded, str):
                raise AudioError(loaded)
            for windows, lengths, num_samples in [loaded] if loaded is not None else files.stream(index):
                file.num_samples = num_samples
                for window, length in zip(windows, lengths):
                    file.num_windows += 1
                    batch.append((file, window, length))
                    if len(batch) == together:
                        encode_batch()
                        progress(num_samples / model.sample_rate)
        except AudioError as error:
            file.problem = error
        file.is_read = True
        yield from finished()
    if batch:
        seconds = batch[-1][0].num_samples / model.sample_rate
        encode_batch()
        progress(seconds)
    yield from finished()


def encode_file(
    encoder: FileEncoder[Result],
    path: str,
    batch_size: int = MAX_WINDOWS,
    precision: str = "float32",
    progress: Progress = lambda seconds: None,
) -> Result:
    """`encode_files` of one file.

    Raises:
        AudioError: it cannot be read.
    """
    (result,) = encode_files(encoder, [path], batch_size, precision=precision, progress=progress)
    if isinstance(result, AudioError):
        raise result
    return result
