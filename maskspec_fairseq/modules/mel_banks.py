"""Triangular mel filter banks by torchaudio, each filter with a peak of 1, and their product with a power spectrum.

Shapes: B batch, F filters, S frames, K = n_fft // 2 + 1 frequency bins of the STFT.
"""

import importlib.metadata
from functools import lru_cache
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Filters that are multiplied with the same bins, see `mel_bands`.
FILTERS_PER_GROUP = 16
# Of the FFT on whose bins the filters' peaks are looked for: 1 Hz apart at 32 kHz.
FINE_N_FFT = 2**15


def import_torchaudio() -> ModuleType:
    """torchaudio, imported when it is needed.

    Raises:
        ImportError: it is not installed, or does not import next to this torch; the message has the cure.
    """
    try:
        import torchaudio
        import torchaudio.compliance.kaldi
    except (ImportError, OSError, RuntimeError) as error:  # built for another CUDA version than torch: any of the three
        try:
            version = f"torchaudio {importlib.metadata.version('torchaudio')}"
        except importlib.metadata.PackageNotFoundError:
            version = "no torchaudio"
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImportError(
            f"expected torchaudio of the same build as torch, found {version} next to torch {torch.__version__} "
            f'({reason}); mend it with: pip install "torch<2.15" torchaudio'
        ) from error
    return torchaudio


class LinspaceInFloat64(TorchFunctionMode):
    """`torch.linspace` in float64, and so all of `melscale_fbanks`, whose corners come from it.

    With its float32 the filters are off by 1e-5, and the log-mel by up to 4e-4 from librosa's.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)


# A finetuning step with mixed spectrograms asks for the banks of its clips twice, hence room for a batch.
@lru_cache(maxsize=256)
def make_mel_banks(mel_scale: str, n_mels: int, n_fft: int, sample_rate: int, f_min: float, f_max: float) -> Tensor:
    """The filters of a front end.

    Sources: `torchaudio.functional.melscale_fbanks`, which is `librosa.filters.mel(norm=None)`, with corners even on
    Slaney's mel scale and triangles straight over Hz; `torchaudio.compliance.kaldi.get_mel_banks`, with corners even on
    Kaldi's mel scale, triangles straight over mel, and nothing taken from the Nyquist bin.

    Args:
        mel_scale: "slaney" or "kaldi".
        n_fft: samples.
        sample_rate: Hz.
        f_min, f_max: Hz, the outer edges of the lowest and the highest filter.

    Returns:
        float32 (F, K) on the CPU, shared with later calls: not to be changed.

    Raises:
        ValueError: another scale.
        ImportError: see `import_torchaudio`.
    """
    torchaudio = import_torchaudio()
    # What is cached must not depend on where it was first asked for.
    with torch.inference_mode(False), torch.device("cpu"):
        if mel_scale == "slaney":
            with LinspaceInFloat64():
                # It has bins up to rate // 2, which is not the Nyquist frequency of an odd rate such as 11025 Hz;
                # of twice the rate it is, and the first half of twice the bins are those of the rate.
                banks = torchaudio.functional.melscale_fbanks(
                    n_fft + 1, f_min, f_max, n_mels, 2 * sample_rate, norm=None, mel_scale="slaney"
                ).mT[:, : n_fft // 2 + 1]  # (F, n_fft + 1) -> (F, K)
        elif mel_scale == "kaldi":
            no_warping = (100.0, -500.0, 1.0)  # vtln_low, vtln_high, vtln_warp_factor
            banks, _ = torchaudio.compliance.kaldi.get_mel_banks(
                n_mels, n_fft, float(sample_rate), f_min, f_max, *no_warping
            )  # (F, K - 1)
            banks = F.pad(banks, (0, 1))  # (F, K)
        else:
            raise ValueError(f"expected a mel scale out of ('slaney', 'kaldi'), found {mel_scale!r}")
        return banks.float().contiguous()


def mel_bands(banks: Tensor) -> list[tuple[slice, slice]]:
    """Group neighbouring filters, each group with the range of bins that its filters take anything of.

    Args:
        banks: (F, K) or (B, F, K), on the CPU.

    Returns:
        Pairs (filters, bins).
    """
    used = banks.reshape(-1, *banks.shape[-2:]).any(dim=0)  # (B, F, K) -> bool (F, K)
    bands = []
    for first in range(0, len(used), FILTERS_PER_GROUP):
        bins = used[first : first + FILTERS_PER_GROUP].any(dim=0).nonzero()  # (bins in use, 1)
        low, high = (int(bins[0]), int(bins[-1]) + 1) if len(bins) else (0, 1)
        bands.append((slice(first, first + FILTERS_PER_GROUP), slice(low, high)))
    return bands


def mel_power(banks: Tensor, bands: list[tuple[slice, slice]], power: Tensor) -> Tensor:
    """Apply filters to power spectra, leaving out most of the filters' zeros.

    Args:
        banks: (F, K), or (B, F, K) with filters for each clip.
        bands: of the banks, see `mel_bands`.
        power: (B, S, K).

    Returns:
        (B, S, F).
    """
    products = [torch.matmul(power[..., bins], banks[..., filters, bins].mT) for filters, bins in bands]
    return torch.cat(products, dim=2)


def mel_centres_hz(mel_scale: str, n_mels: int, sample_rate: int, f_min: float, f_max: float) -> np.ndarray:
    """Where each filter has its peak, Hz, (F,), to within a bin of a long FFT; arguments of `make_mel_banks`."""
    banks = make_mel_banks(mel_scale, n_mels, FINE_N_FFT, sample_rate, f_min, f_max)
    return banks.argmax(dim=1).numpy() * (sample_rate / FINE_N_FFT)
