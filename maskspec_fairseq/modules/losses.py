"""The losses, each returned as a sum and the number of terms, so that callers can divide sums over several batches.

Shapes: B batch, K masked patches that were predicted, P values per patch, C classes.
"""

import torch.nn.functional as F
from torch import Tensor


def masked_spectrogram_loss(prediction: Tensor, target: Tensor, scored: Tensor) -> tuple[Tensor, Tensor]:
    """Squared error over masked patches, in the dtype of the target (float32 or float64), not that of the model.

    Source: MaskSpec, arXiv:2204.12768, equation 1: the sum over masked patches of ||E_i - Y_i||^2.

    Patches of padding are left out: the paper's clips have next to none, and in short clips they would be most of the
    loss, and its easiest part.

    Args:
        prediction: (B, K, P).
        target: (B, K, P).
        scored: bool (B, K), False for patches that are left out.

    Returns:
        The sum of squared errors, and the number of values summed.
    """
    weight = scored[:, :, None]
    error = (prediction.to(target.dtype) - target).square() * weight
    return error.sum(), weight.sum() * target.shape[2]


def smooth(target: Tensor, smoothing: float) -> Tensor:
    """Label smoothing of targets (..., C) from 0 to 1: a share of each is spread evenly over all classes."""
    return target * (1 - smoothing) + smoothing / target.shape[-1]


def soft_cross_entropy(logits: Tensor, target: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy with class probabilities as targets, as mixup makes them.

    Args:
        logits: (B, C).
        target: (B, C), rows that sum to 1.
        known: bool (B, C); clips with an unknown label are left out.

    Returns:
        The sum over clips, and the number of clips.
    """
    counted = known.all(dim=1)
    loss = F.cross_entropy(logits, target, reduction="none") * counted  # (B,)
    return loss.sum(), counted.sum()


def binary_cross_entropy(logits: Tensor, target: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy over the labels that are known.

    Args:
        logits: (B, C), or (B, M, C) for those of M columns of patches.
        target: of the same shape, from 0 to 1.
        known: bool, of the same shape.

    Returns:
        The sum over known labels, and their number.
    """
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * known
    return loss.sum(), known.sum()
