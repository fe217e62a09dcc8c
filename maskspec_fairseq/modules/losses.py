"""The pretraining loss.

Source: MaskSpec, arXiv:2204.12768, equation 1: the sum over masked patches of ||E_i - Y_i||^2.

Shapes: B batch, N masked patches, P values a patch.
"""

from typing import Tuple

from torch import Tensor


def masked_spectrogram_loss(prediction: Tensor, target: Tensor, scored: Tensor) -> Tuple[Tensor, Tensor]:
    """Squared error over masked patches, in float32 (or float64) whatever the model's dtype.

    Patches of padding are left out: the paper's clips have none worth speaking of, and in short clips they would be
    most of the loss, and its easiest part.

    Args:
        prediction: (B, N, P).
        target: (B, N, P).
        scored: bool (B, N).

    Returns:
        The sum of squared errors, and the number of values that it is the sum of.
    """
    weight = scored[:, :, None]
    error = (prediction.to(target.dtype) - target).square() * weight
    return error.sum(), weight.sum() * target.shape[2]
