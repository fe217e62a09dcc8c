"""What becomes of a batch whose loss is NaN or infinite: it is left out of its update, and counted."""

from typing import Any, Dict, Tuple, Union

import torch
from torch import Tensor, nn

Scored = Tuple[Tensor, Union[int, Tensor], Dict[str, Any]]


def drop_if_not_finite(
    model: nn.Module, loss: Tensor, sample_size: Union[int, Tensor], logging_output: Dict[str, Any]
) -> Scored:
    """Pass on what a criterion returns in training, or a batch that counts for nothing where the loss is not finite.

    That is a loss whose gradient is zero for every parameter (data-parallel processes wait for one), a sample size
    of 0, and a logging output with the counts of clips and patches, zeros for the sums, and `skipped`.
    """
    if torch.isfinite(loss):
        return loss, sample_size, {**logging_output, "skipped": 0}
    no_gradient = sum((parameter * 0).sum() for parameter in model.parameters() if parameter.requires_grad)
    counts = {name: value if isinstance(value, int) else 0.0 for name, value in logging_output.items()}
    return no_gradient, 0, {**counts, "sample_size": 0, "skipped": 1}
