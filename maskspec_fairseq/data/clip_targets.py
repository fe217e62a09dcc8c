"""The labels of a subset as target vectors, kept small enough for two million clips.

Shapes: N clips, C classes.
"""

import numpy as np

from maskspec_fairseq.data_dir.labels import PackedLabels
from maskspec_fairseq.data_dir.packed import PackedRows


class ClipTargets:
    """Target vectors of every clip, made on access.

    Args:
        labels: what is known of each clip (see docs/manifests.md: if any clip of the subset has a class marked as
            absent, classes that a line does not name are unknown; otherwise they are absent). Their vocabulary has
            the order of the model's outputs.
    """

    def __init__(self, labels: PackedLabels) -> None:
        self.labels = labels
        self.num_classes = len(labels.vocabulary)
        self.partially_labelled = len(labels.absent.values) > 0

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, clip: int) -> tuple[np.ndarray, np.ndarray]:
        """Target, float32 (C,) of 0 and 1, and bool (C,), whether it is known."""
        present, absent = self.labels.present[clip], self.labels.absent[clip]
        target = np.zeros(self.num_classes, dtype=np.float32)
        target[present] = 1
        known = np.full(self.num_classes, not self.partially_labelled)
        known[present] = known[absent] = True
        return target, known

    def present(self) -> PackedRows:
        """The class indices of every clip."""
        return self.labels.present

    def stacked(self) -> tuple[np.ndarray, np.ndarray]:
        """The targets of all clips, float32 (N, C), and bool (N, C), whether they are known; for evaluation."""
        rows = [self[clip] for clip in range(len(self))]
        return np.stack([target for target, _ in rows]), np.stack([known for _, known in rows])
