"""How a clip is cut for a head of frames, so that each column of patches is scored once, by a window full of sound.

Shapes: T samples, K windows of W samples, M columns of patches per window, N columns of the clip, D values per column.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from maskspec_fairseq.audio.windows import Window


@dataclass(frozen=True)
class ScoredWindows:
    """Windows that follow each other without overlap, up to the last one, which ends with the clip.

    The last one is moved back by whole columns, so that all columns are on one grid; those that the window before has
    are dropped. Were it padded instead, its columns would be those of a window that is mostly silence, as hardly any in
    training is. A clip that is shorter than a window is padded, as in training.

    Attributes:
        size: W, in samples as all lengths here.
        columns: M.
        column_samples: from one column to the next.
        middle: from the beginning of a window to the middle of its first column.
    """

    size: int
    columns: int
    column_samples: int
    middle: int

    @property
    def hop(self) -> int:
        """From one window to the next; what a window holds after its columns is not used."""
        return self.columns * self.column_samples

    def num_columns(self, num_samples: int) -> int:
        """N, the columns whose middles are in a clip; a clip of a few samples has one, too."""
        return max(1, -((self.middle - num_samples) // self.column_samples))

    def starts(self, num_samples: int) -> list[int]:
        """Where the K windows of a clip start."""
        count = self.num_columns(num_samples)
        before = range(-(-count // self.columns) - 1)
        return [*(number * self.hop for number in before), max(0, count - self.columns) * self.column_samples]

    def cut(self, waveform: Tensor) -> Tensor:
        """(B, T) -> (B, K, W)."""
        starts = torch.tensor(self.starts(waveform.shape[1]), device=waveform.device)
        beyond = int(starts[-1]) + self.size - waveform.shape[1]
        padded = nn.functional.pad(waveform, (0, max(0, beyond)))
        return padded[:, starts[:, None] + torch.arange(self.size, device=waveform.device)]

    def stream(self, pieces: Iterable[np.ndarray]) -> Iterator[Window]:
        """The same windows of a waveform that arrives in pieces, float32 (W,) each; about three are in memory."""
        done, first, kept = 0, 0, np.zeros(0, dtype=np.float32)  # windows so far; samples from `first` on
        for piece in pieces:
            kept = np.concatenate([kept, piece])
            while first + len(kept) - done * self.hop > max(
                self.size, self.hop + self.middle
            ):  # another window follows
                start = done * self.hop
                yield Window(start, kept[start - first :][: self.size])
                done, kept, first = done + 1, kept[start - first :], start  # the last window may reach back to there
        for start in self.starts(first + len(kept))[done:]:
            samples = kept[start - first :][: self.size]
            yield Window(start, np.pad(samples, (0, self.size - len(samples))))

    def join(self, columns: Tensor, num_samples: int) -> Tensor:
        """What was computed for each column of the windows of a clip, (B, K, M, D) -> (B, N, D)."""
        count = self.num_columns(num_samples)
        if columns.shape[1] == 1:
            return columns[:, 0, :count]
        before, last = columns[:, :-1].flatten(1, 2), columns[:, -1]
        return torch.cat([before, last[:, before.shape[1] - count :]], dim=1)
