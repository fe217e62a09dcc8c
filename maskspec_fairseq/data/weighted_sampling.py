"""Epochs in which rare classes come up more often: a weight for every clip, and the clips that an epoch draws.

Sources: PaSST, arXiv:2110.05069, which MaskSpec, arXiv:2204.12768, refers to, and PSLA, arXiv:2102.01243.
"""

from typing import Tuple

import numpy as np

from maskspec_fairseq.data_dir.packed import PackedRows

# The weight of a class is 1000 / (offset + clips of the class).
OFFSETS = {"passt": 100.0, "psla": 0.01}


def class_counts(clip_labels: PackedRows, num_classes: int) -> np.ndarray:
    """How many of the clips have each class, int64 (num_classes,); a class named twice in a clip counts once.

    Raises:
        ValueError: a class index outside [0, num_classes).
    """
    return np.bincount(_clips_and_classes(clip_labels, num_classes)[1], minlength=num_classes)


def clip_weights(clip_labels: PackedRows, num_classes: int, formula: str) -> np.ndarray:
    """The weight of every clip, float64: the sum over its classes c of w_c, n_c being counted over these clips.

    w_c = 1000 / (100 + n_c) for "passt", 1000 / (n_c + 0.01) for "psla". A clip without labels weighs 0 under both,
    so it is never drawn.

    Args:
        clip_labels: the class indices of each clip.

    Raises:
        ValueError: unknown formula, a class index outside [0, num_classes), or no clip with a label.
    """
    if formula not in OFFSETS:
        raise ValueError(f"expected task.sampling out of {tuple(OFFSETS)}, found {formula!r}")
    clips, classes = _clips_and_classes(clip_labels, num_classes)
    if not len(clips):
        raise ValueError(
            f"expected a label in at least one clip, found none in {len(clip_labels)}; "
            "label the training subset or sample without weights"
        )
    class_weights = 1000 / (OFFSETS[formula] + np.bincount(classes, minlength=num_classes))
    return np.bincount(clips, weights=class_weights[classes], minlength=len(clip_labels))


def draw(weights: np.ndarray, num_draws: int, seed: int, epoch: int) -> np.ndarray:
    """The clips of an epoch in the order of training: one after another by weight, none of them twice.

    The numbers depend on (seed, epoch) alone, so that every rank computes the same array and fairseq, which shards
    its batches, gives no clip to two ranks. In the released code each rank seems to draw the same clips.

    Method: Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006: the `num_draws` smallest of
    E_i / w_i, E_i ~ Exp(1). In the order of these keys heavy clips come early; here the order is shuffled.

    Args:
        weights: (N,), at least 0.

    Returns:
        int64 (num_draws,), indices into `weights`.

    Raises:
        ValueError: a weight that is negative or not finite, or more draws than clips with a weight above 0, or none.
    """
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise ValueError(f"expected finite weights of at least 0, found {weights[wrong[0]]} for clip {wrong[0]}")
    candidates = np.flatnonzero(weights)
    if not 0 < num_draws <= len(candidates):
        raise ValueError(
            f"expected 1 to {len(candidates)} draws an epoch, as many as clips weigh more than 0 "
            f"(clips without labels do not), found {num_draws}; draw another number of clips an epoch"
        )
    rng = np.random.default_rng([seed, epoch])
    keys = rng.standard_exponential(len(candidates)) / weights[candidates]
    chosen = candidates[np.argsort(keys, kind="stable")[:num_draws]]
    return rng.permutation(chosen)


def _clips_and_classes(clip_labels: PackedRows, num_classes: int) -> Tuple[np.ndarray, np.ndarray]:
    """Every (clip, class) once, as two int64 arrays, ordered by clip."""
    classes = clip_labels.values
    clips = np.repeat(np.arange(len(clip_labels)), clip_labels.lengths)
    wrong = np.flatnonzero((classes < 0) | (classes >= num_classes))
    if len(wrong):
        raise ValueError(
            f"expected class indices from 0 to {num_classes - 1}, found {classes[wrong[0]]} in clip {clips[wrong[0]]}"
        )
    # AudioSet has five million pairs: they stay in one array, and np.unique would hash them, which takes seconds.
    pairs = clips
    pairs *= num_classes
    pairs += classes
    pairs.sort(kind="stable")
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    return np.divmod(pairs, num_classes)
