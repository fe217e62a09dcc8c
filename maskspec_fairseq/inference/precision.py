"""The precision that a trained model computes in."""

import torch

PRECISIONS = ("float32", "bf16")


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context in which matrix products are computed in a precision, sums and norms in float32.

    Args:
        device: of the model.
        precision: out of `PRECISIONS`.

    Raises:
        ValueError: another precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"expected a precision out of {', '.join(PRECISIONS)}, found {precision!r}")
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
