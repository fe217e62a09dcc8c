"""Average precision and ROC AUC of 20,371 clips and 527 classes, AudioSet's evaluation, against scikit-learn, class by
class: `python -m benchmarks metrics`.

Scores and labels are synthesised: a share of positives of 1 % to 10 % a class, scores that know something of them.
scikit-learn is given what it is fastest with, labels of int8 and contiguous columns.
"""

from typing import List, Tuple

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.compare import Row, in_turns, time_row
from maskspec_fairseq.metrics import multilabel_scores

CLIPS, CLASSES = 20371, 527
METRICS = (average_precision_score, roc_auc_score)


def make_scores() -> Tuple[np.ndarray, np.ndarray]:
    """Scores, float32, and labels, (CLIPS, CLASSES)."""
    rng = np.random.default_rng(1)
    target = rng.random((CLIPS, CLASSES)) < rng.uniform(0.01, 0.1, CLASSES)
    scores = rng.standard_normal((CLIPS, CLASSES), dtype=np.float32) + 2 * target.astype(np.float32)
    return scores, target


def scikit_learn(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Average precisions and AUCs, (2, classes)."""
    classes = [(labels.astype(np.int8), np.ascontiguousarray(values)) for labels, values in zip(target.T, scores.T)]
    return np.array([[metric(*labels_and_scores) for labels_and_scores in classes] for metric in METRICS])


def rows() -> List[Row]:
    scores, target = make_scores()
    found = {}

    def ours() -> None:
        found["ours"] = multilabel_scores(scores, target)

    def theirs() -> None:
        found["theirs"] = scikit_learn(scores, target)

    seconds = in_turns({"ours": ours, "theirs": theirs}, rounds=2)
    measured, expected = found["ours"], found["theirs"]
    off = np.abs(np.array([measured.average_precision, measured.auc]) - expected).max()
    return [
        time_row(
            f"mAP and AUC of {CLIPS} clips x {CLASSES} classes",
            "scikit-learn, class by class",
            **seconds,
            target="at most 0.2",
            note=f"largest difference of a class {off:.0e}",
        )
    ]
