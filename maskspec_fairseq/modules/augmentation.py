"""What training does to a clip: mixup, roll, gain, and masks over the spectrogram.

MaskSpec, arXiv:2204.12768, section 3.2, mixes waveforms and spectrograms and rolls over time; its released code also
changes the gain and applies SpecAugment. Patchout is `random_masking` with the stream PATCHOUT.

Shapes: B batch, T samples, C classes, F mel bins, S frames.
"""

from typing import Tuple

import numpy as np
import torch
from torch import Tensor

from maskspec_fairseq.modules.clip_rng import SPEC_AUGMENT, clip_rng


def mixup_ratio(rng: np.random.Generator, alpha: float) -> float:
    """The share of the first clip in a mix: lambda ~ Beta(alpha, alpha), folded to max(lambda, 1 - lambda).

    Source: mixup, arXiv:1710.09412. The fold is the released code's: the first clip is never the quieter one.

    Raises:
        ValueError: alpha is not above 0.
    """
    if alpha <= 0:
        raise ValueError(f"expected the mixup alpha above 0, found {alpha}; leave mixup out instead of setting 0")
    ratio = float(rng.beta(alpha, alpha))
    return max(ratio, 1 - ratio)


def mix_waveforms(first: np.ndarray, second: np.ndarray, ratio: float) -> np.ndarray:
    """ratio * first + (1 - ratio) * second, without its mean.

    The released code takes the mean out of each clip and again out of the mix; the last makes up for the first two.

    Args:
        first: float32 (T,).
        second: float32 (T,).

    Returns:
        float32 (T,), a new array.

    Raises:
        ValueError: the lengths differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"expected two waveforms of one length, found {first.shape} and {second.shape}")
    mixed = float(ratio) * first + (1 - float(ratio)) * second
    return mixed - mixed.mean()


def mix_targets(
    first: np.ndarray, first_known: np.ndarray, second: np.ndarray, second_known: np.ndarray, ratio: float
) -> Tuple[np.ndarray, np.ndarray]:
    """The labels of a mix: ratio * first + (1 - ratio) * second, known where the first clip's, the louder one's, are.

    An unknown label of the second clip counts as absent, as most labels are. The code released for OpenMIC, whose
    recipe leaves mixup off, would take a label as known where either clip's is, and an unknown one of the louder clip
    as absent, too. Were both to be known, hardly a label would be left: there, a clip has two known ones of 20.

    Args:
        first: float32 (C,), in [0, 1].
        first_known: bool (C,).
        second: float32 (C,), in [0, 1].
        second_known: bool (C,).

    Returns:
        The targets, float32 (C,), 0 where unknown, and which of them are known, bool (C,).
    """
    mixed = float(ratio) * first + (1 - float(ratio)) * np.where(second_known, second, 0)
    return np.where(first_known, mixed, 0).astype(np.float32), first_known


def roll(waveform: np.ndarray, rng: np.random.Generator, max_samples: int) -> np.ndarray:
    """Shift (T,) in a circle by a whole number of samples, uniform in [-max_samples, max_samples].

    Source: MaskSpec, arXiv:2204.12768, section 3.2, which gives no distance; the released code has 50 samples.

    Raises:
        ValueError: max_samples is below 0.
    """
    if max_samples < 0:
        raise ValueError(f"expected a roll of at least 0 samples, found {max_samples}")
    return np.roll(waveform, rng.integers(-max_samples, max_samples, endpoint=True))


def change_gain(waveform: np.ndarray, rng: np.random.Generator, max_db: float) -> np.ndarray:
    """Scale (T,) by 10 ** (g / 20), g uniform in [-max_db, max_db] dB; the released code has 7 dB.

    Raises:
        ValueError: max_db is below 0.
    """
    if max_db < 0:
        raise ValueError(f"expected a gain of at least 0 dB either way, found {max_db}")
    return waveform * float(10 ** (rng.uniform(-max_db, max_db) / 20))


def spec_augment(spectrogram: Tensor, clip_keys: np.ndarray, max_bins: int, max_frames: int) -> Tensor:
    """Hide one band of mel bins and one stretch of frames of every clip behind 0, the normalised spectrogram's mean.

    Source: SpecAugment, arXiv:1904.08779, section 2, without the time warping. A width is uniform in 0..max, then a
    start uniform among those where the width fits; the paper never starts at the last of them. The released code
    draws once for the whole batch (pytorch/audio#1504); here every clip has masks of its own.

    Args:
        spectrogram: (B, F, S), any dtype and device; not changed.
        clip_keys: (B, 3) integers (seed, epoch, clip).
        max_bins: the widest band; F if that is smaller.
        max_frames: the longest stretch; S if that is smaller.

    Raises:
        ValueError: not one key a clip, or a maximum below 0.
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
    return spectrogram.masked_fill(hidden.to(spectrogram.device), 0)


def _stretch(rng: np.random.Generator, size: int, longest: int) -> slice:
    width = rng.integers(0, min(longest, size), endpoint=True)
    start = rng.integers(0, size - width, endpoint=True)
    return slice(int(start), int(start + width))
