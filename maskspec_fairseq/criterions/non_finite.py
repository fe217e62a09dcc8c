"""Drop batches with a NaN or infinite loss from the update, and count them."""

from typing import Any, Dict, Tuple, Union

import torch
from torch import Tensor, nn

Scored = Tuple[Tensor, Union[int, Tensor], Dict[str, Any]]


def drop_if_not_finite(
    model: nn.Module, loss: Tensor, sample_size: Union[int, Tensor], logging_output: Dict[str, Any]
) -> Scored:
    """Return what a criterion returns in training, replaced by a batch of no weight if the loss is not finite.

    The replacement is a loss whose gradient is zero for every parameter (data-parallel processes wait for one), a
    sample size of 0, and a logging output that keeps the counts of clips and patches and has zeros for the sums.

    Args:
        model: whose parameters need a gradient.
        loss: of the batch, a sum.
        sample_size: what the gradient is divided by.
        logging_output: of the batch; integers are counts, anything else is a sum.

    Returns:
        Loss, sample size, and the logging output with `skipped`, 0 or 1.
    """
    if torch.isfinite(loss):
        return loss, sample_size, {**logging_output, "skipped": 0}
    trained = (parameter for parameter in model.parameters() if parameter.requires_grad)
    no_gradient = sum(((parameter * 0).sum() for parameter in trained), start=loss.new_zeros(()))
    counts = {name: value if isinstance(value, int) else 0.0 for name, value in logging_output.items()}
    return no_gradient, 0, {**counts, "sample_size": 0, "skipped": 1}
