"""Triangular mel filter banks, each filter with a peak of 1.

Sources: Slaney's Auditory Toolbox (`librosa.filters.mel(norm=None)`); Kaldi's `MelBanks`
(`torchaudio.compliance.kaldi.get_mel_banks`). Written here because torchaudio refuses to import beside a torch
built for another CUDA version, and the filters are all that would be taken from it.

Shapes: B batch, F filters, S frames, K = n_fft // 2 + 1 frequency bins of the STFT.
"""

import math
from typing import List, Tuple, Union

import numpy as np
import torch
from torch import Tensor


def _hz_to_slaney(hz: np.ndarray) -> np.ndarray:
    """Linear (3 mel for 200 Hz) up to 1 kHz, logarithmic (27 mel for a factor of 6.4) above."""
    hz = np.asarray(hz, dtype=np.float64)
    return np.where(hz < 1000.0, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1000.0) / 1000) / math.log(6.4))


def _slaney_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((np.maximum(mel, 15) - 15) * math.log(6.4) / 27))


def slaney_mel_banks(n_mels: int, n_fft: int, sample_rate: int, f_min: float, f_max: float) -> Tensor:
    """Corners even on Slaney's mel scale, triangles straight over Hz -> float32 (F, K)."""
    bins_hz = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    corners = _slaney_to_hz(np.linspace(_hz_to_slaney(f_min), _hz_to_slaney(f_max), n_mels + 2))
    lower, centre, upper = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising = (bins_hz - lower) / (centre - lower)
    falling = (upper - bins_hz) / (upper - centre)
    return torch.from_numpy(np.maximum(0.0, np.minimum(rising, falling))).float()


def kaldi_mel_banks(
    n_mels: int, n_fft: int, sample_rate: int, f_min: Union[float, np.ndarray], f_max: Union[float, np.ndarray]
) -> Tensor:
    """Corners even on Kaldi's mel scale, triangles straight over mel, nothing taken from the Nyquist bin.

    In float32 from the mel scale on, as torchaudio has it: the slopes of the narrow filters show the difference.

    Args:
        f_min, f_max: Hz, one of each or (B,).

    Returns:
        float32 (F, K) or (B, F, K).
    """
    low, high = (1127.0 * np.log1p(np.asarray(hz, dtype=np.float64) / 700.0) for hz in (f_min, f_max))
    delta = torch.as_tensor((high - low) / (n_mels + 1), dtype=torch.float32)[..., None, None]
    low = torch.as_tensor(low, dtype=torch.float32)[..., None, None]
    number = torch.arange(n_mels, dtype=torch.float32)[:, None]
    lower, centre, upper = (low + (number + corner) * delta for corner in range(3))
    mel = 1127.0 * (1.0 + (sample_rate / n_fft) * torch.arange(n_fft // 2) / 700.0).log()
    banks = torch.minimum((mel - lower) / (centre - lower), (upper - mel) / (upper - centre)).clamp(min=0.0)
    return torch.nn.functional.pad(banks, (0, 1))


MEL_BANKS = {"slaney": slaney_mel_banks, "kaldi": kaldi_mel_banks}


FILTERS_TOGETHER = 16


def mel_bands(banks: Tensor) -> List[Tuple[slice, slice]]:
    """The filters in groups, each with the bins that its filters take anything of: (F, K) or (B, F, K), on the CPU."""
    taken = banks.reshape(-1, *banks.shape[-2:]).any(dim=0)  # (F, K)
    bands = []
    for first in range(0, len(taken), FILTERS_TOGETHER):
        bins = taken[first : first + FILTERS_TOGETHER].any(dim=0).nonzero()
        ends = (int(bins[0]), int(bins[-1]) + 1) if len(bins) else (0, 1)
        bands.append((slice(first, first + FILTERS_TOGETHER), slice(*ends)))
    return bands


def mel_power(banks: Tensor, bands: List[Tuple[slice, slice]], power: Tensor) -> Tensor:
    """Power of the bins (B, S, K) times filters, (F, K) or (B, F, K), without most of their zeros -> (B, S, F).

    Args:
        bands: of the banks, see `mel_bands`.
    """
    products = [torch.matmul(power[..., bins], banks[..., filters, bins].mT) for filters, bins in bands]
    return torch.cat(products, dim=2)


def mel_centres_hz(mel_scale: str, n_mels: int, f_min: float, f_max: float) -> np.ndarray:
    """Centre frequency of every filter in Hz, (n_mels,): the frequency axis of a picture."""
    if mel_scale == "slaney":
        corners = _slaney_to_hz(np.linspace(_hz_to_slaney(f_min), _hz_to_slaney(f_max), n_mels + 2))
    else:
        low, high = (np.log1p(hz / 700) for hz in (f_min, f_max))
        corners = 700 * np.expm1(np.linspace(low, high, n_mels + 2))
    return corners[1:-1]
