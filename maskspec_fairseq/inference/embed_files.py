"""Embeddings of files, which may be longer than the memory.

Shapes: T samples, N frames, D width.
"""

from typing import Iterable, Iterator, List, NamedTuple, Tuple

import numpy as np
import torch
from torch import Tensor

from maskspec_fairseq.audio.read import load_clip
from maskspec_fairseq.audio.stream import stream_clip
from maskspec_fairseq.audio.windows import Window, cut, cut_evenly
from maskspec_fairseq.inference.audio_model import MAX_WINDOWS, AudioModel


class Span(NamedTuple):
    """A piece of a file, from second to second, and its embedding, float32 (D,) on the CPU."""

    start_sec: float
    end_sec: float
    embedding: Tensor


@torch.inference_mode()
def embed_file(model: AudioModel, path: str, batch_size: int = MAX_WINDOWS) -> Span:
    """The embedding that `AudioModel.forward` gives of the whole file, with a few windows in memory at a time.

    A batch has windows of this file only, so that the numbers do not depend on the files around it.

    Args:
        batch_size: windows that go through the encoder together.

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
    """The embeddings of windows of a file; the last one is shorter where the file ends in its midst.

    Args:
        size, hop: of the windows, samples at the model's rate, see `cut`. Longer ones than the model's length are taken
            in several, shorter ones are padded, as `AudioModel.embed` does with clips.
        batch_size: windows of the model's length that go through the encoder together.

    Raises:
        AudioError: see `load_clip`.
    """
    together = max(1, batch_size // -(-size // model.window_samples))
    pieces = stream_clip(path, model.sample_rate, model.channel)
    for batch in _batches(cut(pieces, size, hop), together):
        embeddings = _embed(model, batch, batch_size)
        for window, embedding in zip(batch, embeddings):
            yield Span(window.start / model.sample_rate, window.end / model.sample_rate, embedding)


@torch.inference_mode()
def embed_frames(model: AudioModel, path: str, passes: int = 1) -> Tuple[Tensor, Tensor]:
    """`AudioModel.frame_embeddings` of a file, (N, D) float32 and (N,) s, on the CPU; the file is read whole.

    Raises:
        AudioError: see `load_clip`.
        ValueError: passes that do not divide a column.
    """
    waveform, _ = load_clip(path, model.sample_rate, channel=model.channel)
    frames, times = model.frame_embeddings(torch.from_numpy(waveform)[None], model.sample_rate, passes)
    return frames[0].float().cpu(), times.cpu()


@torch.inference_mode()
def _embed(model: AudioModel, batch: List[Window], batch_size: int) -> Tensor:
    """Windows of one length -> (B, D) on the CPU."""
    waveform = torch.from_numpy(np.stack([window.samples for window in batch]))
    return model.embed(model.resample(waveform, model.sample_rate), batch_size).float().cpu()


def _batches(windows: Iterable[Window], batch_size: int) -> Iterator[List[Window]]:
    """Consecutive windows of one length together."""
    batch: List[Window] = []
    for window in windows:
        if batch and (len(batch) == batch_size or len(window.samples) != len(batch[0].samples)):
            yield batch
            batch = []
        batch.append(window)
    yield batch
