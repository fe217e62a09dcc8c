"""The events of a clip as targets of its columns of patches.

Shapes: M columns of patches, C classes, T samples of a clip.
"""

import math
from dataclasses import dataclass
from typing import Optional

import numpy as np

from maskspec_fairseq.data.clip_targets import ClipTargets
from maskspec_fairseq.data_dir.events import PackedEvents


@dataclass(frozen=True)
class ColumnGrid:
    """Where the columns of patches are in a clip.

    Attributes:
        sample_rate: Hz, of the model's input.
        num_samples: T.
        num_columns: M.
        column_samples: from one column to the next.
        first_sample: where the first column begins, half a hop before the middle of its first frame.
    """

    sample_rate: int
    num_samples: int
    num_columns: int
    column_samples: int
    first_sample: float

    def columns(self, start: float, end: float, shift: int = 0) -> list[tuple[int, int]]:
        """The columns of an event: the first of each stretch and the one after its last.

        Start and end are rounded to the boundaries of columns. An event that is too short for that, and wholly in the
        clip, has the column of its middle.

        Args:
            start, end: samples from the beginning of the clip on; may be outside.
            shift: by how many samples the clip is rolled then.
        """
        whole = start >= 0 and end <= self.num_samples
        start, end = max(start, 0.0), min(end, float(self.num_samples))
        if end <= start:
            return []
        first = (start + shift) % self.num_samples
        last = first + end - start
        stretches = [(first, min(last, self.num_samples))]
        if last > self.num_samples:
            stretches.append((0.0, last - self.num_samples))
        found = [(self._boundary(a), self._boundary(b)) for a, b in stretches]
        found = [(a, b) for a, b in found if a < b]
        if found or not whole:
            return found
        middle = math.floor(self._position((first + last) / 2 % self.num_samples))
        return [(middle, middle + 1)] if 0 <= middle < self.num_columns else []

    def _position(self, sample: float) -> float:
        return (sample - self.first_sample) / self.column_samples

    def _boundary(self, sample: float) -> int:
        return min(max(math.floor(self._position(sample) + 0.5), 0), self.num_columns)


def times_known(events: PackedEvents, targets: ClipTargets, clip: int) -> np.ndarray:
    """Of which classes it is known when they sound in a clip, bool (C,).

    They are those with events and those that are absent, but not those that are present at times unknown, or unknown.
    """
    present, known_in_clip = targets[clip]
    known = known_in_clip & (present == 0)
    known[events[clip][:, 2]] = True
    return known


class FrameTargets:
    """Targets of the columns of every clip, made on access.

    In a clip with events of a class, it sounds within these and nowhere else; a class that is absent from the clip
    sounds nowhere; of any other nothing is known in any column, see `times_known`.

    Args:
        events: of the clips.
        targets: what is known of each clip as a whole.
        grid: the columns.
    """

    def __init__(self, events: PackedEvents, targets: ClipTargets, grid: ColumnGrid) -> None:
        self.events = events
        self.targets = targets
        self.grid = grid

    def of(self, clip: int, start: int, rate: int, shift: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The targets of a crop.

        Args:
            clip: its line in the manifest, from 0.
            start: its first frame.
            rate: of the file, Hz.
            shift: by how many samples it is rolled then.

        Returns:
            float32 (M, C) of 0 and 1, and bool (M, C), whether they are known.
        """
        known = np.tile(times_known(self.events, self.targets, clip), (self.grid.num_columns, 1))
        target = np.zeros(known.shape, dtype=np.float32)
        samples_per_frame = self.grid.sample_rate / rate
        for first, last, number in self.events[clip].tolist():
            span = ((first - start) * samples_per_frame, (last - start) * samples_per_frame)
            for column, end in self.grid.columns(*span, shift):
                target[column:end, number] = 1
        return target, known

    def nothing(self) -> tuple[np.ndarray, np.ndarray]:
        """Targets of which none is known, of padding for instance."""
        target = np.zeros((self.grid.num_columns, self.targets.num_classes), dtype=np.float32)
        return target, target.astype(bool)


Frames = tuple[np.ndarray, np.ndarray]  # what `FrameTargets.of` returns


def mix_frames(first: Frames, second: Optional[Frames], ratio: float) -> Frames:
    """The targets of a mix of two clips, ratio * first + (1 - ratio) * second, known where both are known.

    Args:
        first: of a clip.
        second: of the clip that is mixed in; None if there is none.
        ratio: the share of the first.
    """
    if second is None:
        return first
    target = (float(ratio) * first[0] + (1 - float(ratio)) * second[0]).astype(np.float32)
    return target, first[1] & second[1]
