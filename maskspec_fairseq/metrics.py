"""Accuracy for one class per clip, average precision and ROC AUC for any number of classes per clip. No torch here.

Clips are ranked by float32 logits: the sigmoid of a half-precision logit saturates at 0 and 1, which makes ties.

scikit-learn and SciPy, which take a second or more to import, are imported where they are used: pretraining needs
neither.

Shapes: N clips, C classes.
"""

import math
from dataclasses import dataclass
from typing import Optional

import numpy as np

SCORE_NAMES = {True: ("mAP", "mean_auc", "d_prime", "skipped_classes"), False: ("accuracy", "class_mean_accuracy")}


def accuracy(scores: np.ndarray, target: np.ndarray) -> float:
    """The share of clips whose class has the highest score.

    Args:
        scores: (N, C).
        target: (N,), class indices.

    Raises:
        ValueError: other shapes, no clips, scores that are not finite, or an index that is not a class.
    """
    _check_classes(scores, target)
    return float((scores.argmax(axis=1) == target).mean())


@dataclass(frozen=True)
class MultilabelScores:
    """What `multilabel_scores` measures.

    average_precision: float64 (C,), NaN for a class without a known positive.
    auc: float64 (C,), area under the ROC curve, NaN for a class without a known positive or a known negative.
    mean_average_precision: mean over the scored classes.
    mean_auc: mean over the classes that have an AUC; NaN if none has.
    d_prime: of the mean AUC; infinite if that is 1.
    num_skipped_classes: number of classes without a known positive.
    """

    average_precision: np.ndarray
    auc: np.ndarray
    mean_average_precision: float
    mean_auc: float
    d_prime: float
    num_skipped_classes: int


def multilabel_scores(scores: np.ndarray, target: np.ndarray, known: Optional[np.ndarray] = None) -> MultilabelScores:
    """Average precision and ROC AUC of every class over its known labels, their means, and d'.

    d' = sqrt(2) * Phi^-1(mean AUC), as in the AudioSet papers. A class without a positive has no average precision, so
    it is left out of the means; scikit-learn, and so the released code, counts it as 0.

    Args:
        scores: float32 (N, C), logits.
        target: (N, C), 0 or 1 where known.
        known: bool (N, C); None if everything is known.

    Raises:
        ValueError: other shapes, no clips, scores that are not finite, known labels other than 0 and 1, or no class
            with a known positive.
    """
    from scipy.special import ndtri
    from sklearn.metrics import average_precision_score, roc_auc_score

    _check_scores(scores)
    for name, labels in (("target", target), ("known", known)):
        if labels is not None and labels.shape != scores.shape:
            raise ValueError(f"expected {name} of the scores' shape {scores.shape}, found {labels.shape}")
    valid = np.ones(target.shape, dtype=bool) if known is None else known.astype(bool)
    positive = (target == 1) & valid
    negative = (target == 0) & valid
    if (positive | negative).sum() != valid.sum():
        found = target[valid & ~positive & ~negative][0]
        raise ValueError(f"expected known labels to be 0 or 1, found {found}; round labels in between, or mask them")
    has_positive = positive.any(axis=0)
    if not has_positive.any():
        raise ValueError(
            f"expected a positive label in at least one of {target.shape[1]} classes, found no clip of the subset that "
            "has a known positive label; check that the label file is this subset's"
        )
    average_precision, auc = np.full((2, target.shape[1]), np.nan)
    for index in np.flatnonzero(has_positive):
        rows = valid[:, index]
        class_positive = positive[rows, index].astype(np.int8)  # of scikit-learn's checks, those of int8 cost least
        class_scores = scores[rows, index].astype(np.float64)  # it subtracts them, which can overflow float32
        average_precision[index] = average_precision_score(class_positive, class_scores)
        if not class_positive.all():
            auc[index] = roc_auc_score(class_positive, class_scores)
    mean_auc = float(np.nanmean(auc)) if np.isfinite(auc).any() else math.nan
    return MultilabelScores(
        average_precision=average_precision,
        auc=auc,
        mean_average_precision=float(np.nanmean(average_precision)),
        mean_auc=mean_auc,
        d_prime=float(math.sqrt(2) * ndtri(mean_auc)),
        num_skipped_classes=int((~has_positive).sum()),
    )


def summarise(
    scores: np.ndarray, target: np.ndarray, known: np.ndarray, target_is_multilabel: bool
) -> tuple[dict[str, float], np.ndarray]:
    """The scores of a subset, and those of every class.

    Args:
        scores: float32 (N, C), logits.
        target: bool (N, C).
        known: bool (N, C).

    Returns:
        The scores by name (`SCORE_NAMES`), rounded to five digits, and float64 (C,), the average precision or, with one
        class per clip, the recall of every class, NaN for a class without a known positive.
    """
    values: list[float]
    if target_is_multilabel:
        result = multilabel_scores(scores, target, known)
        class_scores = result.average_precision
        values = [result.mean_average_precision, result.mean_auc, result.d_prime, result.num_skipped_classes]
    else:
        classes = target.argmax(axis=1)
        class_scores = class_recalls(scores, classes)
        values = [accuracy(scores, classes), float(np.nanmean(class_scores))]
    return {name: round(value, 5) for name, value in zip(SCORE_NAMES[target_is_multilabel], values)}, class_scores


def class_recalls(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The recall of every class, (C,), NaN for a class without a clip; see `accuracy`."""
    from sklearn.metrics import recall_score

    _check_classes(scores, target)
    recalls = np.full(scores.shape[1], np.nan)
    present = np.unique(target)
    recalls[present] = recall_score(target, scores.argmax(axis=1), labels=present, average=None)
    return recalls


def _check_scores(scores: np.ndarray) -> tuple[int, int]:
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"expected scores of clips by classes, at least one of each, found shape {scores.shape}")
    wrong = ~np.isfinite(scores)
    if wrong.any():
        raise ValueError(
            f"expected finite scores, found {int(wrong.sum())} that are NaN or infinite, the first in row "
            f"{int(wrong.any(axis=1).argmax())}; the training has diverged, or half precision has overflowed"
        )
    return scores.shape


def _check_classes(scores: np.ndarray, target: np.ndarray) -> None:
    clips, classes = _check_scores(scores)
    if target.shape != (clips,):
        raise ValueError(f"expected one class index for each of the {clips} clips, found shape {target.shape}")
    wrong = np.flatnonzero((target < 0) | (target >= classes))
    if len(wrong):
        raise ValueError(
            f"expected class indices from 0 to {classes - 1}, found {target[wrong[0]]} in row {int(wrong[0])}"
        )
