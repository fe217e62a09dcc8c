"""Embeddings of files of any length, which are read in blocks.

Shapes: T samples, W samples per window, N frames, E width of an embedding, W'
of a frame's.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Callable, NamedTuple

import numpy as np
import torch
from torch import Tensor

from maskspec_fairseq.audio.stream import stream_clip
from maskspec_fairseq.audio.windows import Window, cut, cut_evenly
from maskspec_fairseq.inference.audio_model import MAX_WINDOWS, AudioModel
from maskspec_fairseq.inference.events import Frames


class Span(NamedTuple):
    """A part of a file, from start to end in seconds, and its embedding, float32 (E,) on the CPU."""

    start_sec: float
    end_sec: float
    embedding: Tensor


@torch.inference_mode()
def embed_file(model: AudioModel, path: str, batch_size: int = MAX_WINDOWS) -> Span:
    """The embedding that `AudioModel.forward` computes for the whole file, with a few windows in memory at a time.

    A batch holds windows of this file only, so that the result does not depend on other files.

    Args:
        batch_size: how many windows are encoded together.

    Raises:
        AudioError: see `load_clip`.
    """
    total, count, end = torch.zeros(model.embed_dim, dtype=torch.float64), 0, 0
    pieces = stream_clip(path, model.sample_rate, model.channel)
    for batch in _batches(cut_evenly(pieces, model.window_samples), batch_size):
        total += _embed(model, batch, batch_size).double().sum(dim=0)
        count, end = count + len(batch), batch[-1].end
    return Span(0.0, end / model.sample_rate, (total / count).float())


def embed_spans(model: AudioModel, path: str, size: int, hop: int, batch_size: int = MAX_WINDOWS) -> Iterator[Span]:
    """The embeddings of the windows of a file; the last window is shorter if the file ends within it.

    Args:
        size: of a window, samples at the model's rate. Windows longer than the model's length are cut into several,
            shorter ones are padded, as `AudioModel.embed` does with clips.
        hop: samples from one window to the next, see `cut`.
        batch_size: how many windows of the model's length are encoded together.

    Raises:
        AudioError: see `load_clip`.
    """
    together = max(1, batch_size // -(-size // model.window_samples))
    pieces = stream_clip(path, model.sample_rate, model.channel)
    for batch in _batches(cut(pieces, size, hop), together):
        for window, embedding in zip(batch, _embed(model, batch, batch_size)):
            yield Span(window.start / model.sample_rate, window.end / model.sample_rate, embedding)


@torch.inference_mode()
def embed_frames(model: AudioModel, path: str, passes: int = 1) -> tuple[Tensor, Tensor]:
    """The frames that `AudioModel.frame_embeddings` computes for the whole file, which is read once and in blocks.

    Args:
        passes: how many times each window is encoded.

    Returns:
        Embeddings, float32 (N, W'), and times, float64 (N,), s, on the CPU. They are all that is kept in memory.

    Raises:
        AudioError: see `load_clip`.
        ValueError: a number of passes that does not divide a column.
    """
    size, hop, margin = model.frame_windows(passes)
    pieces = _CountedPieces(stream_clip(path, model.sample_rate, model.channel))
    # With these zeros after the clip, the first window that reaches the end is the last one that begins in the clip.
    before, after = (np.zeros(length, dtype=np.float32) for length in (margin, size - hop))
    parts = []
    for batch in _batches(cut(chain([before], pieces, [after]), size, hop), MAX_WINDOWS):
        samples = np.stack([np.pad(window.samples, (0, size - len(window.samples))) for window in batch])
        waveform = model.resample(torch.from_numpy(samples), model.sample_rate)  # (b, size)
        parts.append(model.embed_frames(waveform, passes).flatten(0, 1).float().cpu())
    first, times = model.frame_times(pieces.num_samples, passes)
    return torch.cat(parts)[first : first + len(times)], times


@torch.inference_mode()
def frame_scores(
    model: AudioModel,
    path: str,
    batch_size: int = MAX_WINDOWS,
    progress: Callable[[float], None] = lambda seconds: None,
) -> Frames:
    """The scores of the columns of patches of the whole file, which is read once and in blocks.

    Args:
        model: with a head of frames.
        batch_size: how many windows are encoded together.
        progress: is told the seconds of the file that are done.

    Raises:
        AudioError: see `load_clip`.
    """
    scored = model.scored_windows
    pieces = _CountedPieces(stream_clip(path, model.sample_rate, model.channel))
    parts = []  # (b, M, C) each
    for batch in _batches(scored.stream(pieces), batch_size):
        windows = model.resample(torch.from_numpy(np.stack([window.samples for window in batch])), model.sample_rate)
        parts.append(model.network.head(model.embed_frames(windows, passes=1)).float().cpu())
        progress(batch[-1].end / model.sample_rate)
    logits = scored.join(torch.cat(parts)[None], pieces.num_samples)[0]  # (N, C)
    _, times = model.frame_times(pieces.num_samples, passes=1)
    step_sec = model.column_samples / model.sample_rate
    return Frames(model.scores(logits).numpy(), times.numpy(), step_sec, pieces.num_samples / model.sample_rate)


class _CountedPieces:
    """The pieces of a waveform, and how many samples have been in them so far."""

    def __init__(self, pieces: Iterable[np.ndarray]) -> None:
        self.pieces = pieces
        self.num_samples = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for piece in self.pieces:
            self.num_samples += len(piece)
            yield piece


@torch.inference_mode()
def _embed(model: AudioModel, batch: list[Window], batch_size: int) -> Tensor:
    """Windows of one length -> (B, E) on the CPU."""
    waveform = torch.from_numpy(np.stack([window.samples for window in batch]))  # (B, W)
    return model.embed(model.resample(waveform, model.sample_rate), batch_size).float().cpu()


def _batches(windows: Iterable[Window], batch_size: int) -> Iterator[list[Window]]:
    """Consecutive windows of one length, at most batch_size of them together."""
    batch: list[Window] = []
    for window in windows:
        if batch and (len(batch) == batch_size or len(window.samples) != len(batch[0].samples)):
            yield batch
            batch = []
        batch.append(window)
    yield batch
