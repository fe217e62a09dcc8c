"""What a model computes of files of any length, which are read in blocks: embeddings, and the scores of frames.

Each is a `FileEncoder`, for `encode_files` and `encode_file`.

Shapes: B windows of a batch, K windows of W samples per file, M columns of patches per window, P passes, N frames, E
width of an embedding, W' of a frame's, C classes.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
from torch import Tensor

from maskspec_fairseq.audio.windows import Window, cut, cut_evenly
from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.inference.events import Frames
from maskspec_fairseq.inference.file_batches import FileEncoder


class Span(NamedTuple):
    """A part of a file, from start to end in seconds, and its embedding, float32 (E,) on the CPU."""

    start_sec: float
    end_sec: float
    embedding: Tensor


class EmbeddingEncoder(FileEncoder[Span]):
    """The embedding that `AudioModel.forward` computes for the whole file."""

    def __init__(self, model: AudioModel) -> None:
        self.model = model
        self.size = model.window_samples
        self.cut = partial(cut_evenly, size=self.size)

    def encode(self, windows: Tensor, lengths: Tensor) -> Tensor:
        """(B, W) -> (B, E)."""
        return self.model.embed_windows(windows, lengths, max_windows=None)

    def join(self, rows: Tensor, num_samples: int) -> Span:
        """(K, E) -> (E,)."""
        return Span(0.0, num_samples / self.model.sample_rate, rows.double().mean(dim=0).float())


class SpanEncoder(FileEncoder[list[Span]]):
    """The embeddings of spans of a file; the last one is shorter if the file ends within it.

    Spans longer than the model's length are cut into several windows, shorter ones are padded, as `AudioModel.embed`
    does with clips.

    Args:
        span: samples per span, at the model's rate.
        hop: samples from one span to the next, at most `span`.
    """

    def __init__(self, model: AudioModel, span: int, hop: int) -> None:
        self.model, self.span, self.hop = model, span, hop
        self.size = model.window_samples
        self.cut = partial(_cut_spans, span=span, hop=hop, size=self.size)

    def encode(self, windows: Tensor, lengths: Tensor) -> Tensor:
        """(B, W) -> (B, E)."""
        return self.model.embed_windows(windows, lengths, max_windows=None)

    def join(self, rows: Tensor, num_samples: int) -> list[Span]:
        """(K, E) -> (E,) for each span."""
        beyond = max(0, num_samples - self.span)
        starts = [number * self.hop for number in range(1 + -(-beyond // self.hop))]
        ends = [min(start + self.span, num_samples) for start in starts]
        counts = [-(-(end - start) // self.size) for start, end in zip(starts, ends)]
        rate = self.model.sample_rate
        return [
            Span(start / rate, end / rate, part.mean(dim=0))
            for start, end, part in zip(starts, ends, rows.split(counts))
        ]


class FrameEncoder(FileEncoder[tuple[Tensor, Tensor]]):
    """The frames that `AudioModel.frame_embeddings` computes for the whole file, float32 (N, W'), and their times,
    float64 (N,), s, on the CPU. They are all that is kept in memory.

    Args:
        passes: how many times each window is encoded.

    Raises:
        ValueError: a number of passes that does not divide a column.
    """

    def __init__(self, model: AudioModel, passes: int = 1) -> None:
        self.model, self.passes = model, passes
        self.size, hop, margin = model.frame_windows(passes)
        self.cut = partial(_cut_frames, size=self.size, hop=hop, margin=margin)

    def encode(self, windows: Tensor, lengths: Tensor) -> Tensor:
        """(B, W) -> (B, M * P, W')."""
        return self.model.embed_frames(windows, self.passes)

    def join(self, rows: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
        """(K, M * P, W') -> (N, W')."""
        first, times = self.model.frame_times(num_samples, self.passes)
        return rows.flatten(0, 1)[first : first + len(times)], times


class ScoreEncoder(FileEncoder[Frames]):
    """The scores of the columns of patches of the whole file, by a model with a head of frames."""

    def __init__(self, model: AudioModel) -> None:
        self.model = model
        self.size = model.window_samples
        self.cut = model.scored_windows.stream

    def encode(self, windows: Tensor, lengths: Tensor) -> Tensor:
        """(B, W) -> (B, M, C)."""
        return self.model.network.head(self.model.embed_frames(windows, passes=1))

    def join(self, rows: Tensor, num_samples: int) -> Frames:
        """(K, M, C) -> (N, C)."""
        model = self.model
        logits = model.scored_windows.join(rows[None], num_samples)[0]
        _, times = model.frame_times(num_samples, passes=1)
        step_sec = model.column_samples / model.sample_rate
        return Frames(model.scores(logits).numpy(), times.numpy(), step_sec, num_samples / model.sample_rate)


def _cut_spans(pieces: Iterable[np.ndarray], span: int, hop: int, size: int) -> Iterator[Window]:
    """The windows of up to `size` samples of each span."""
    for whole in cut(pieces, span, hop):
        for part in cut_evenly([whole.samples], size):
            yield Window(whole.start + part.start, part.samples)


def _cut_frames(pieces: Iterable[np.ndarray], size: int, hop: int, margin: int) -> Iterator[Window]:
    """The windows of `AudioModel.frame_windows`."""
    # With these zeros after the clip, the first window that reaches the end is the last one that begins in the clip.
    before, after = (np.zeros(length, dtype=np.float32) for length in (margin, size - hop))
    return cut(chain([before], pieces, [after]), size, hop)
