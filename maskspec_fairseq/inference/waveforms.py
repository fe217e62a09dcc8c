"""Batches of waveforms, before a model hears them: checked, resampled, without padding, cut into windows.

Shapes: B clips, T samples, K windows of W samples.
"""

from collections.abc import Sequence

import numpy as np
import soxr
import torch
from torch import Tensor, nn


def check_waveform(waveform: Tensor) -> None:
    """Check that a waveform is a tensor of floats, (B, T), with samples.

    Raises:
        ValueError: it is not.
    """
    if not (torch.is_tensor(waveform) and waveform.dim() == 2 and waveform.is_floating_point()):
        found = f"{waveform.dtype} {tuple(waveform.shape)}" if torch.is_tensor(waveform) else type(waveform).__name__
        raise ValueError(
            f"expected a waveform as a tensor of floats, (B, T), found {found}; for a single clip: clip[None]"
        )
    if not waveform.numel():
        raise ValueError(f"expected a waveform with samples, found the shape {tuple(waveform.shape)}")


def unpad(waveform: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """(B, T) -> B clips, (T',) each, without their padding.

    Raises:
        ValueError: see `check_waveform`; or not B numbers of samples from 1 to T.
    """
    check_waveform(waveform)
    num_clips, num_samples = waveform.shape
    counts = torch.as_tensor(lengths)
    if not counts.is_floating_point():
        counts = counts.to(torch.int64)  # small or unsigned ones do not compare with T
    if counts.shape != (num_clips,) or counts.is_floating_point() or counts.min() < 1 or counts.max() > num_samples:
        raise ValueError(
            f"expected lengths of {num_clips} clips, each from 1 to {num_samples} samples, found {counts.tolist()}"
        )
    return [clip[:count] for clip, count in zip(waveform, counts.tolist())]


def resample(waveform: Tensor, sample_rate: int, new_sample_rate: int) -> Tensor:
    """(B, T) at one rate -> (B, T') at another, both in Hz, on the CPU.

    Raises:
        ValueError: clips so short that no sample is left.
    """
    clips = waveform.detach().cpu().numpy()
    resampled = np.stack([soxr.resample(clip, sample_rate, new_sample_rate, quality="HQ") for clip in clips])
    if not resampled.size:
        raise ValueError(
            f"expected at least one sample at {new_sample_rate} Hz, found {clips.shape[1]} at {sample_rate} Hz"
        )
    return torch.from_numpy(resampled)


def cut_windows(waveform: Tensor, size: int, hop: int) -> Tensor:
    """(B, T) -> (B, K, W): each sample is in a window, the last one ends with the clip, a short clip is padded.

    Args:
        waveform: of any length.
        size: W.
        hop: samples from one window to the next, from 1 to W.
    """
    waveform = nn.functional.pad(waveform, (0, max(0, size - waveform.shape[1])))
    beyond = waveform.shape[1] - size
    # not -(-beyond // hop): ONNX rounds a division towards zero
    starts = torch.arange(1 + (beyond + hop - 1) // hop, device=waveform.device) * hop  # (K,)
    starts = starts.clamp(max=beyond)
    return waveform[:, starts[:, None] + torch.arange(size, device=waveform.device)]
