"""The labels of a subset as target vectors, kept small enough for two million clips.

Shapes: N clips, C classes.
"""

from typing import List, Sequence, Tuple

import numpy as np

from maskspec_fairseq.manifest import ClipLabels, Label


class ClipTargets:
    """Class indices of every clip, present and absent, in two flat arrays.

    Args:
        clips: what is known of each clip (see docs/manifests.md: where any clip has a class marked as absent, classes
            that a line does not name are unknown; elsewhere they are absent).
        vocabulary: the classes, in the order of the model's outputs.
    """

    def __init__(self, clips: Sequence[ClipLabels], vocabulary: Sequence[Label]) -> None:
        self.num_classes = len(vocabulary)
        self.partially_labelled = any(clip.absent for clip in clips)
        index = {label.key: number for number, label in enumerate(vocabulary)}
        self._present = _Rows([[index[key] for key in clip.present] for clip in clips])
        self._absent = _Rows([[index[key] for key in clip.absent] for clip in clips])

    def __len__(self) -> int:
        return len(self._present)

    def __getitem__(self, clip: int) -> Tuple[np.ndarray, np.ndarray]:
        """Target, float32 (C,) of 0 and 1, and bool (C,), whether it is known."""
        target = np.zeros(self.num_classes, dtype=np.float32)
        target[self._present[clip]] = 1
        known = np.full(self.num_classes, not self.partially_labelled)
        known[self._present[clip]] = known[self._absent[clip]] = True
        return target, known

    def present(self) -> List[np.ndarray]:
        """The classes of every clip."""
        return [self._present[clip] for clip in range(len(self))]

    def counts(self) -> np.ndarray:
        """Classes present in every clip, (N,)."""
        return np.diff(self._present.starts)

    def stacked(self) -> Tuple[np.ndarray, np.ndarray]:
        """Targets, float32 (N, C), and bool (N, C), whether they are known: those of a subset that is evaluated."""
        rows = [self[clip] for clip in range(len(self))]
        return np.stack([target for target, _ in rows]), np.stack([known for _, known in rows])


class _Rows:
    """Lists of small integers, one after the other."""

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self.starts = np.cumsum([0, *map(len, rows)])
        self.values = np.fromiter((value for row in rows for value in row), dtype=np.int32, count=self.starts[-1])

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.starts[row] : self.starts[row + 1]]
