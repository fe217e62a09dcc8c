"""Epochs in which rare classes come up more often: a weight for every clip, and the clips drawn for an epoch.

Sources: PaSST, arXiv:2110.05069, which MaskSpec, arXiv:2204.12768, refers to, and PSLA, arXiv:2102.01243.

Shapes: N clips, C classes.
"""

import numpy as np

from maskspec_fairseq.data_dir.packed import PackedRows

# The weight of a class is 1000 / (offset + clips of the class).
OFFSETS = {"passt": 100.0, "psla": 0.01}


def clip_weights(clip_labels: PackedRows, num_classes: int, formula: str) -> np.ndarray:
    """The weight of every clip: the sum of w_c over its classes c, where n_c of these clips have class c.

    w_c = 1000 / (100 + n_c) for "passt", 1000 / (n_c + 0.01) for "psla". A class named twice in a clip counts
    once. A clip without labels has weight 0 under both, so it is never drawn.

    Args:
        clip_labels: the class indices of each of N clips.
        num_classes: C.
        formula: "passt" or "psla".

    Returns:
        float64 (N,).

    Raises:
        ValueError: unknown formula, a class index outside [0, num_classes), or no clip with a label.
    """
    if formula not in OFFSETS:
        raise ValueError(f"expected task.clip_sampling out of {tuple(OFFSETS)}, found {formula!r}")
    clips, classes = _clips_and_classes(clip_labels, num_classes)
    if not len(clips):
        raise ValueError(
            f"expected a label in at least one clip, found none in {len(clip_labels)}; "
            "label the training subset or sample without weights"
        )
    class_weights = 1000 / (OFFSETS[formula] + np.bincount(classes, minlength=num_classes))  # (C,)
    return np.bincount(clips, weights=class_weights[classes], minlength=len(clip_labels))


def draw(weights: np.ndarray, num_draws: int, seed: int, epoch: int) -> np.ndarray:
    """The clips of an epoch in the order of training: drawn one after another by weight, without replacement.

    The result depends on (seed, epoch) alone, so that every rank computes the same array and fairseq, which shards
    its batches, gives no clip to two ranks. In the released code each rank seems to draw the same clips.

    `Generator.choice` lists heavy clips early, so the order is shuffled. Up to version 0.1.0 the clips were drawn by
    exponential keys (Efraimidis and Spirakis, 2006): by the same distribution, but with other random numbers.

    Args:
        weights: (N,), at least 0.
        num_draws: number of clips.
        seed: `common.seed`.
        epoch: from 1.

    Returns:
        int64 (num_draws,), indices into `weights`.

    Raises:
        ValueError: a weight that is negative or not finite, or more draws than clips with a weight above 0, or none.
    """
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise ValueError(f"expected finite weights of at least 0, found {weights[wrong[0]]} for clip {wrong[0]}")
    candidates = np.count_nonzero(weights)
    if not 0 < num_draws <= candidates:
        raise ValueError(
            f"expected 1 to {candidates} draws per epoch, the number of clips with a weight above 0 "
            f"(clips without labels have none), found {num_draws}; draw another number of clips per epoch"
        )
    rng = np.random.default_rng([seed, epoch])
    return rng.permutation(rng.choice(len(weights), num_draws, replace=False, p=weights / weights.sum()))


def _clips_and_classes(clip_labels: PackedRows, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of a clip and one of its classes once, as two int64 arrays (M,), ordered by clip."""
    classes = clip_labels.values  # (M,), before pairs that are there twice are removed
    clips = np.repeat(np.arange(len(clip_labels)), clip_labels.lengths)  # (M,)
    wrong = np.flatnonzero((classes < 0) | (classes >= num_classes))
    if len(wrong):
        raise ValueError(
            f"expected class indices from 0 to {num_classes - 1}, found {classes[wrong[0]]} in clip {clips[wrong[0]]}"
        )
    # AudioSet has five million pairs: they share one array, and np.unique would hash them, which takes seconds.
    pairs = clips  # becomes clip * C + class, in place
    pairs *= num_classes
    pairs += classes
    pairs.sort(kind="stable")
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    return np.divmod(pairs, num_classes)
