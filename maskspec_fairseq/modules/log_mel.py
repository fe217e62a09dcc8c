"""The front end: waveform to normalised log-mel spectrogram, always in float32.

Source: MaskSpec, arXiv:2204.12768, section 3.1. The numbers of every front end: `front_ends.py`.

Shapes: B batch, T samples, F mel bins, S frames, K frequency bins of the STFT.
"""

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskspec_fairseq.clip_rng import MEL_RANGE, check_clip_keys, clip_rng
from maskspec_fairseq.modules.float32_bits import from_bits
from maskspec_fairseq.modules.framing import CentredFrames, KaldiFrames
from maskspec_fairseq.modules.front_ends import FRONT_ENDS
from maskspec_fairseq.modules.mel_banks import make_mel_banks, mel_bands, mel_power
from maskspec_fairseq.modules.patches import PatchSize, patch_shape

# A bin whose deviation is under this share of the median bin's is divided by that share instead of by its own
# deviation, so that an empty band does not become loud noise. Small enough to leave the statistics that the
# released code ships (ratio 0.06 in its emptiest bins) as they are.
MIN_STD_RATIO = 0.05

# The random edges of the released code's training: f_min in [0, 9] Hz, f_max in [14001, 16000] Hz.
JITTER_F_MIN = (0, 9)
JITTER_F_MAX = (14001, 16000)

FRAMES: dict[str, type[CentredFrames]] = {"centred": CentredFrames, "kaldi": KaldiFrames}
# The smallest power that a logarithm is taken of, as in Kaldi. It has no effect with a larger `log_offset`.
LOG_FLOOR = 2.0**-23
# Frames of every clip that a CPU processes at a time, so that intermediate results stay in its cache.
CPU_CHUNK_FRAMES = 64


class LogMel(nn.Module):
    """STFT, power, mel filters, log, and the normalisation of every bin by the corpus's statistics.

    The statistics are buffers and travel in the checkpoint; window and filters are computed, and do not. The
    module stays in float32 under `.half()`, `.bfloat16()`, `.double()` and autocast.

    Example:
        >>> import torch
        >>> from maskspec_fairseq.modules.log_mel import LogMel
        >>> log_mel = LogMel("paper", sample_rate=32000)
        >>> log_mel(torch.zeros(2, 32000)).shape  # 1 s: 96 frames of 10 ms
        torch.Size([2, 128, 96])

    Args:
        front_end: a name out of `FRONT_ENDS`.
        sample_rate: of the waveform, Hz.
        patch_size: mel bins and frames of a patch, see `PatchSize`; the frames are cut to whole patches: 10 s at 32 kHz
            gives 1001 frames, of which 992 remain with patches of 16.
        mel_jitter: draw the filters' outer edges anew for every clip and epoch in training (released code; there
            one draw serves a whole batch; here the draw depends on the clip's own key, and not on its batch).

    Raises:
        ValueError: an unknown front end, or a patch size or sample rate that does not fit it.
        ImportError: torchaudio, which makes the filters, does not import; the message has the cure.
    """

    mel_banks: Tensor
    mel_mean: Tensor
    mel_std: Tensor

    def __init__(
        self,
        front_end: str = "paper",
        sample_rate: int = 32000,
        patch_size: PatchSize = 16,
        mel_jitter: bool = False,
    ) -> None:
        super().__init__()
        if front_end not in FRONT_ENDS:
            raise ValueError(f"expected a front end out of {sorted(FRONT_ENDS)}, found {front_end!r}")
        self.params = FRONT_ENDS[front_end]
        bins, frames = patch_shape(patch_size)
        if self.params.n_mels % bins:
            divisors = [str(number) for number in range(1, self.params.n_mels + 1) if self.params.n_mels % number == 0]
            raise ValueError(
                f"expected a patch size that divides {self.params.n_mels} mel bins, found {bins} x {frames} (bins x "
                f"frames) with the front end {front_end!r}; set model.patch_size=[BINS,{frames}] with BINS out of "
                f"{', '.join(divisors)}, or another model.front_end"
            )
        self.sample_rate = sample_rate
        self.patch_size = bins, frames
        self.mel_jitter = mel_jitter
        highest = JITTER_F_MAX[1] if mel_jitter else self.params.f_max
        if highest > sample_rate / 2:
            raise ValueError(
                f"expected a sample rate of at least {2 * highest:.0f} Hz for the mel filters of the front end "
                f"{front_end!r}, found {sample_rate}; raise task.sample_rate, audio of other rates is resampled"
            )
        n_mels = self.params.n_mels
        self.frames = FRAMES[self.params.framing](
            self.params.n_fft,
            self.params.hop_length,
            self.params.win_length,
            self.params.window,
            self.params.preemphasis,
        )
        self.register_buffer("mel_banks", self._make_banks(self.params.f_min, self.params.f_max), persistent=False)
        self.mel_bands = mel_bands(self.mel_banks)
        self.register_buffer("mel_mean", torch.zeros(n_mels))
        self.register_buffer("mel_std", torch.ones(n_mels))

    @property
    def n_mels(self) -> int:
        return self.params.n_mels

    @property
    def hop_length(self) -> int:
        return self.params.hop_length

    def settings(self) -> dict[str, Any]:
        """Everything that the statistics depend on, as plain values."""
        return {**self.params.settings(), "sample_rate": self.sample_rate}

    @property
    def has_statistics(self) -> bool:
        """False for an encoder of images, which has never seen a log-mel: its checkpoint has NaN instead."""
        return not bool(self.mel_std.isnan().any())

    def set_statistics(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Set the mean and the standard deviation of each bin of the log-mel.

        Args:
            mean, std: (F,).

        Raises:
            ValueError: not one finite number per bin, or hardly a bin that varies.
        """
        means, deviations = (torch.as_tensor(values, dtype=torch.float32) for values in (mean, std))
        if means.shape != (self.n_mels,) or deviations.shape != (self.n_mels,):
            raise ValueError(
                f"expected statistics of {self.n_mels} mel bins, found {tuple(means.shape)} and "
                f"{tuple(deviations.shape)}"
            )
        if not (torch.isfinite(means).all() and torch.isfinite(deviations).all()):
            raise ValueError("expected finite statistics, found NaN or infinity; measure them again")
        floor = MIN_STD_RATIO * deviations.median()
        if floor <= 0:
            raise ValueError(
                "expected log-mel bins that vary, found a deviation of zero in at least half of them; "
                "were the statistics measured on silence?"
            )
        self.mel_mean.copy_(means)
        self.mel_std.copy_(deviations.clamp(min=floor))

    def num_frames(self, num_samples: int) -> int:
        """Number of frames that `forward` returns for a waveform of `num_samples`.

        Raises:
            ValueError: the clip is shorter than one patch.
        """
        frames, of_patch = self.frames.num_frames(num_samples), self.patch_size[1]
        if frames < of_patch or num_samples < self.frames.least_samples:
            raise ValueError(
                f"expected clips of at least {of_patch} frames ({of_patch * self.hop_length / self.sample_rate:.2f} "
                f"s), found {frames} frames ({num_samples} samples); raise task.clip_sec, or take patches of fewer "
                "frames (model.patch_size)"
            )
        return frames - frames % of_patch

    def grid(self, num_samples: int) -> tuple[int, int]:
        """(rows, columns) of patches in the log-mel of `num_samples` samples."""
        bins, frames = self.patch_size
        return self.n_mels // bins, self.num_frames(num_samples) // frames

    def log_mel(self, waveform: Tensor, clip_key: Optional[np.ndarray] = None) -> Tensor:
        """The log-mel before normalisation: (B, T) in [-1, 1] -> float32 (B, F, S); arguments of `forward`.

        Raises:
            ValueError: another shape or dtype, a clip shorter than one patch, or no keys for `mel_jitter`.
        """
        waveform = from_bits(waveform)
        if waveform.dim() != 2:
            raise ValueError(f"expected a waveform of shape (B, T), found {tuple(waveform.shape)}")
        frames = self.num_frames(waveform.shape[1])
        with torch.autocast(waveform.device.type, enabled=False):
            windows = self.frames(waveform, frames)  # (B, S, W), a view
            chunk = CPU_CHUNK_FRAMES if waveform.device.type == "cpu" else frames
            banks, bands = self._banks_of(clip_key)
            parts = [mel_power(banks, bands, self.frames.power(part)) for part in windows.split(chunk, dim=1)]
            mel = torch.cat(parts, dim=1)  # (B, S, F)
            log_mel = torch.log((mel + self.params.log_offset).clamp(min=LOG_FLOOR))
            log_mel = (log_mel + self.params.log_shift) / self.params.log_scale
            # Kaldi has no frame or two that would end after the clip, and AudioMAE puts zeros there.
            return F.pad(log_mel, (0, 0, 0, frames - log_mel.shape[1])).transpose(1, 2)  # (B, S, F) -> (B, F, S)

    def forward(self, waveform: Tensor, clip_key: Optional[np.ndarray] = None) -> Tensor:
        """Normalised log-mel.

        Args:
            waveform: (B, T), floats in [-1, 1] or their float32 bits as int32.
            clip_key: (B, 3) integers (seed, epoch, clip), needed for `mel_jitter` in training.

        Returns:
            float32 (B, F, S), S a multiple of the frames of a patch.

        Raises:
            ValueError: see `log_mel`.
        """
        log_mel = self.log_mel(waveform, clip_key)
        return (log_mel - self.mel_mean[:, None]) / self.mel_std[:, None]

    def hidden_value(self) -> Tensor:
        """What SpecAugment sets the normalised log-mel to, (F,): 0, the mean, or the front end's own value."""
        if self.params.hidden_log_power is None:
            return torch.zeros_like(self.mel_mean)
        log_mel = (self.params.hidden_log_power + self.params.log_shift) / self.params.log_scale
        return (log_mel - self.mel_mean) / self.mel_std

    def to_decibels(self, normalised: Tensor) -> Tensor:
        """Undo the normalisation: (..., F, S) -> power of each mel bin in dB."""
        log_mel = normalised.float() * self.mel_std[:, None] + self.mel_mean[:, None]
        natural_log = log_mel * self.params.log_scale - self.params.log_shift
        return natural_log * (10 / np.log(10))

    def _make_banks(self, f_min: float, f_max: float) -> Tensor:
        """(F, K)."""
        return make_mel_banks(self.params.mel_scale, self.n_mels, self.params.n_fft, self.sample_rate, f_min, f_max)

    def _banks_of(self, clip_key: Optional[np.ndarray]) -> tuple[Tensor, list[tuple[slice, slice]]]:
        """The filters, (F, K), or with `mel_jitter` in training those of each clip, (B, F, K); and their bands."""
        if not (self.mel_jitter and self.training):
            return self.mel_banks, self.mel_bands
        keys = check_clip_keys(clip_key, "mel_jitter")
        banks = torch.stack([self._make_banks(*jittered_edges(key)) for key in keys])  # (B, F, K)
        return banks.to(self.mel_banks.device), mel_bands(banks)

    def _apply(self, fn, *args, **kwargs):
        # Follow the model to its device, but not to its dtype.
        return super()._apply(lambda t: t.to(fn(t).device) if t.is_floating_point() else fn(t), *args, **kwargs)


def jittered_edges(clip_key: Sequence[int]) -> tuple[float, float]:
    """The outer edges of a clip's filters under `mel_jitter`, f_min and f_max in Hz, from its (seed, epoch, clip)."""
    rng = clip_rng(clip_key, MEL_RANGE)
    f_min, f_max = (rng.integers(*limits, endpoint=True) for limits in (JITTER_F_MIN, JITTER_F_MAX))
    return float(f_min), float(f_max)
