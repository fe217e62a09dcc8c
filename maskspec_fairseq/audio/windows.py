"""A waveform that comes in pieces, as windows of samples.

Shapes: T samples at the wanted rate, W samples of a window.
"""

from typing import Iterable, Iterator, NamedTuple, Optional

import numpy as np


class Window(NamedTuple):
    """Samples of a waveform, float32 (W,), and where in it they start."""

    start: int
    samples: np.ndarray

    @property
    def end(self) -> int:
        return self.start + len(self.samples)


def cut(pieces: Iterable[np.ndarray], size: int, hop: int) -> Iterator[Window]:
    """Windows of a waveform, one every `hop` samples, up to the first that reaches its end, which may be shorter.

    Args:
        pieces: of the waveform, float32.
        size: W.
        hop: from one start to the next, up to `size`.
    """
    start, waiting = 0, np.zeros(0, dtype=np.float32)
    for piece in pieces:
        waiting = np.concatenate([waiting, piece])
        while len(waiting) > size:  # there is more behind the window: it is not the last
            yield Window(start, waiting[:size])
            start, waiting = start + hop, waiting[hop:]
    yield Window(start, waiting)


def cut_evenly(pieces: Iterable[np.ndarray], size: int) -> Iterator[Window]:
    """The windows of `data.windows.windows` with a hop of `size`: the last one is whole and ends with the waveform.

    A waveform shorter than a window comes as it is, without padding.
    """
    before: Optional[Window] = None
    for window in cut(pieces, size, size):
        if before is not None and len(window.samples) < size:
            samples = np.concatenate([before.samples, window.samples])[-size:]
            window = Window(window.end - size, samples)
        yield window
        before = window
