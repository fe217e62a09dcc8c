"""Cut a waveform that arrives in pieces into windows.

Shapes: T samples, W samples per window.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Optional

import numpy as np


class Window(NamedTuple):
    """Samples of a waveform, float32 (W,), and the index in it where they start."""

    start: int
    samples: np.ndarray

    @property
    def end(self) -> int:
        return self.start + len(self.samples)


def cut(pieces: Iterable[np.ndarray], size: int, hop: int) -> Iterator[Window]:
    """Windows of a waveform, one every `hop` samples, up to the first that reaches the end, which may be shorter.

    Args:
        pieces: the waveform, float32, in pieces of any length; T samples in total.
        size: W.
        hop: samples from one start to the next, at most `size`.
    """
    start, waiting = 0, np.zeros(0, dtype=np.float32)
    for piece in pieces:
        waiting = np.concatenate([waiting, piece])  # from `start` on
        while len(waiting) > size:  # samples follow the window, so it is not the last one
            yield Window(start, waiting[:size])
            start, waiting = start + hop, waiting[hop:]
    yield Window(start, waiting)


def cut_evenly(pieces: Iterable[np.ndarray], size: int) -> Iterator[Window]:
    """Windows of a waveform, one every `size` samples; the last one is moved back so that it is full.

    A waveform shorter than a window is yielded as it is, without padding.

    Args:
        pieces: see `cut`.
        size: W.
    """
    before: Optional[Window] = None
    for window in cut(pieces, size, size):
        if before is not None and len(window.samples) < size:
            samples = np.concatenate([before.samples, window.samples])[-size:]  # (W,), the last W of up to 2 W - 1
            window = Window(window.end - size, samples)
        yield window
        before = window
