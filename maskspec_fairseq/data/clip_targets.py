"""The labels of a subset as target vectors, kept small enough for two million clips.

Shapes: N clips, C classes.
"""

import os
from typing import Sequence, Tuple

import numpy as np

from maskspec_fairseq.manifest import Label, ManifestError, PackedLabels, read_labels
from maskspec_fairseq.packed import PackedRows


def read_subset_labels(
    directory: str, subset: str, vocabulary: Sequence[Label], num_clips: int, target_is_multilabel: bool
) -> PackedLabels:
    """The labels of a subset, one class a clip or several.

    Raises:
        ManifestError: no label file, one that does not fit (see `read_labels`), a clip without its one class, or a
            subset without any class.
    """
    path = os.path.join(directory, f"{subset}.lbl")
    if not os.path.isfile(path):
        raise ManifestError(f"expected the labels of {subset} in {path}, found no such file; build them again")
    labels = read_labels(path, vocabulary, num_clips)
    present, absent = labels.present.lengths, labels.absent.lengths
    if target_is_multilabel:
        if not present.any():
            raise ManifestError(
                f"{path}: expected clips with classes, found none, and there is no mAP of nothing; "
                "label the subset or choose another"
            )
        return labels
    wrong = np.flatnonzero((present != 1) | (absent > 0))
    if len(wrong):
        line = wrong[0]
        cure = "several classes a clip need task.target_is_multilabel=true" if present[line] > 1 else "label the clip"
        raise ManifestError(
            f"{path}, line {line + 1}: expected one class and none marked as absent, found {present[line]} and "
            f"{absent[line]}; correct the line, or {cure}"
        )
    return labels


class ClipTargets:
    """Target vectors of every clip, made when they are asked for.

    Args:
        labels: what is known of each clip (see docs/manifests.md: where any clip has a class marked as absent, classes
            that a line does not name are unknown; elsewhere they are absent). Their vocabulary has the order of the
            model's outputs.
    """

    def __init__(self, labels: PackedLabels) -> None:
        self.labels = labels
        self.num_classes = len(labels.vocabulary)
        self.partially_labelled = len(labels.absent.values) > 0

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, clip: int) -> Tuple[np.ndarray, np.ndarray]:
        """Target, float32 (C,) of 0 and 1, and bool (C,), whether it is known."""
        present, absent = self.labels.present[clip], self.labels.absent[clip]
        target = np.zeros(self.num_classes, dtype=np.float32)
        target[present] = 1
        known = np.full(self.num_classes, not self.partially_labelled)
        known[present] = known[absent] = True
        return target, known

    def present(self) -> PackedRows:
        """The classes of every clip."""
        return self.labels.present

    def stacked(self) -> Tuple[np.ndarray, np.ndarray]:
        """Targets, float32 (N, C), and bool (N, C), whether they are known: those of a subset that is evaluated."""
        rows = [self[clip] for clip in range(len(self))]
        return np.stack([target for target, _ in rows]), np.stack([known for _, known in rows])
