"""Float32 waveforms that survive `common.fp16`.

fairseq halves every float32 tensor of a batch before the model sees it, and a waveform rounded to half precision
changes the log-mel of quiet bins by more than one nat. The dataset therefore passes the 32 bits of each sample as
an integer, and the front end reads them as float32 again: nothing is rounded, nothing is copied.
"""

import torch
from torch import Tensor


def to_bits(waveform: Tensor) -> Tensor:
    """float32 of any shape -> int32 of the same shape, same memory."""
    return waveform.view(torch.int32)


def from_bits(waveform: Tensor) -> Tensor:
    """The inverse of `to_bits`; a floating-point waveform is returned as float32.

    Raises:
        ValueError: integers that are not int32.
    """
    if waveform.dtype == torch.int32:
        return waveform.view(torch.float32)
    if not waveform.is_floating_point():
        raise ValueError(
            f"expected a waveform of floats (or of float32 bits in int32), found {waveform.dtype}; "
            "divide integer samples by their full scale first"
        )
    return waveform.float()
