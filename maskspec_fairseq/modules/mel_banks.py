"""Triangular mel filter banks, float32 (n_mels, n_fft // 2 + 1), each filter with a peak of 1.

Sources: Slaney's Auditory Toolbox (`librosa.filters.mel(norm=None)`); Kaldi's `MelBanks`
(`torchaudio.compliance.kaldi.get_mel_banks`). Written here because torchaudio refuses to import beside a torch
built for another CUDA version, and the filters are all that would be taken from it.
"""

import math

import numpy as np


def _hz_to_slaney(hz: np.ndarray) -> np.ndarray:
    """Linear (3 mel for 200 Hz) up to 1 kHz, logarithmic (27 mel for a factor of 6.4) above."""
    hz = np.asarray(hz, dtype=np.float64)
    return np.where(hz < 1000.0, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1000.0) / 1000) / math.log(6.4))


def _slaney_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((np.maximum(mel, 15) - 15) * math.log(6.4) / 27))


def _hz_to_kaldi(hz: np.ndarray) -> np.ndarray:
    return 1127.0 * np.log1p(np.asarray(hz, dtype=np.float64) / 700.0)


def _triangles(position: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Filters that rise from corner i to i + 1 and fall to i + 2, at `position` (K,) on the same axis -> (M, K)."""
    lower, centre, upper = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising = (position - lower) / (centre - lower)
    falling = (upper - position) / (upper - centre)
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


def slaney_mel_banks(n_mels: int, n_fft: int, sample_rate: int, f_min: float, f_max: float) -> np.ndarray:
    """Corners even on Slaney's mel scale, triangles straight over Hz."""
    bins_hz = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    low, high = _hz_to_slaney(f_min), _hz_to_slaney(f_max)
    return _triangles(bins_hz, _slaney_to_hz(np.linspace(low, high, n_mels + 2)))


def kaldi_mel_banks(n_mels: int, n_fft: int, sample_rate: int, f_min: float, f_max: float) -> np.ndarray:
    """Corners even on Kaldi's mel scale, triangles straight over mel, nothing taken from the Nyquist bin."""
    bins_hz = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    low, high = _hz_to_kaldi(f_min), _hz_to_kaldi(f_max)
    banks = _triangles(_hz_to_kaldi(bins_hz), np.linspace(low, high, n_mels + 2))
    banks[:, -1] = 0.0
    return banks


MEL_BANKS = {"slaney": slaney_mel_banks, "kaldi": kaldi_mel_banks}


def mel_centres_hz(mel_scale: str, n_mels: int, f_min: float, f_max: float) -> np.ndarray:
    """Centre frequency of every filter in Hz, (n_mels,): the frequency axis of a picture."""
    if mel_scale == "slaney":
        corners = _slaney_to_hz(np.linspace(_hz_to_slaney(f_min), _hz_to_slaney(f_max), n_mels + 2))
    else:
        corners = 700 * np.expm1(np.linspace(_hz_to_kaldi(f_min), _hz_to_kaldi(f_max), n_mels + 2) / 1127)
    return corners[1:-1]
