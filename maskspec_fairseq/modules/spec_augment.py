"""SpecAugment: masks over bands of frequency and stretches of time, in finetuning.

Source: SpecAugment, arXiv:1904.08779, section 2; MaskSpec's released code applies it, its paper does not mention it.
What training does to waveforms is in `data/waveform_augmentation.py`; patchout is `random_masking`.

Shapes: B batch, F mel bins, S frames.
"""

import numpy as np
import torch
from torch import Tensor

from maskspec_fairseq.clip_rng import SPEC_AUGMENT, clip_rng


def spec_augment(
    spectrogram: Tensor, clip_keys: np.ndarray, max_bins: int, max_frames: int, hidden_value: Tensor
) -> Tensor:
    """Hide one band of mel bins and one stretch of frames of every clip.

    There is no time warping. A width is uniform in 0..max, then a start uniform among those where the width fits; the
    paper never starts at the last of them. The released code draws once for the whole batch (pytorch/audio#1504); here
    every clip has masks of its own.

    Args:
        spectrogram: (B, F, S), any dtype and device; not changed.
        clip_keys: (B, 3) integers (seed, epoch, clip).
        max_bins: the widest band; F if that is smaller.
        max_frames: the longest stretch; S if that is smaller.
        hidden_value: (F,), what each bin is set to where it is hidden.

    Returns:
        (B, F, S), of the input's dtype and device.

    Raises:
        ValueError: not one key per clip, or a maximum below 0.
    """
    batch, n_mels, frames = spectrogram.shape
    if len(clip_keys) != batch:
        raise ValueError(f"expected a key for each of the {batch} clips, found {len(clip_keys)}")
    if max_bins < 0 or max_frames < 0:
        raise ValueError(f"expected at least 0 mel bins and frames to mask, found {max_bins} and {max_frames}")
    hidden = torch.zeros(batch, n_mels, frames, dtype=torch.bool)
    for row, key in zip(hidden, clip_keys):
        rng = clip_rng(key, SPEC_AUGMENT)
        row[_stretch(rng, n_mels, max_bins), :] = True
        row[:, _stretch(rng, frames, max_frames)] = True
    return torch.where(hidden.to(spectrogram.device), hidden_value[:, None].to(spectrogram), spectrogram)


def _stretch(rng: np.random.Generator, size: int, longest: int) -> slice:
    """A random part of 0..size, at most `longest` long."""
    width = rng.integers(0, min(longest, size), endpoint=True)
    start = rng.integers(0, size - width, endpoint=True)
    return slice(int(start), int(start + width))
