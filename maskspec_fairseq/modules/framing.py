"""Waveform to its frames, and these to power spectra, in the two ways of the front ends' sources.

Shapes: B batch, T samples, S frames, W samples of a frame, N = n_fft samples, K = n_fft // 2 + 1 frequency bins.
"""

from typing import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def hann_symmetric(length: int) -> Tensor:
    """(W,), the Hann window whose first and last value are 0."""
    return torch.hann_window(length, periodic=False)


WINDOWS: dict[str, Callable[[int], Tensor]] = {"hamming": torch.hamming_window, "hann_symmetric": hann_symmetric}


class CentredFrames(nn.Module):
    """Frames centred on the multiples of the hop, as `torch.stft` has them; pre-emphasis goes before.

    A window shorter than the FFT stands in its middle. Where it stands makes no difference to the power but for the
    rounding of float32, which is all that there is in bins 80 dB below the loudest one.

    The frames are a view of the waveform, so that a caller can take the power of a few at a time: `torch.stft` writes
    all frames and spectra of a batch to memory, which takes a CPU longer than computing them.

    Args:
        n_fft, hop_length, win_length: samples.
        window: a row of `WINDOWS`.
        preemphasis: share of the previous sample that is subtracted from each one, 0 for none.
    """

    window: Tensor

    def __init__(self, n_fft: int, hop_length: int, win_length: int, window: str, preemphasis: float) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.win_length = win_length
        self.preemphasis = preemphasis
        self.register_buffer("window", self._place(WINDOWS[window](win_length)), persistent=False)

    def _place(self, window: Tensor) -> Tensor:
        """The window (win_length,) -> what a frame is multiplied with (W,); here W is N."""
        before = (self.n_fft - self.win_length) // 2
        return F.pad(window, (before, self.n_fft - self.win_length - before))

    @property
    def least_samples(self) -> int:
        """The fewest samples whose ends can be reflected."""
        return self.n_fft // 2 + 1

    @property
    def first_middle(self) -> int:
        """The sample in the middle of the first frame."""
        return 0

    def num_frames(self, num_samples: int) -> int:
        """S of a waveform of `num_samples`."""
        return 1 + (num_samples - (1 if self.preemphasis else 0)) // self.hop_length

    def forward(self, waveform: Tensor, frames: int) -> Tensor:
        """(B, T) -> the first S = `frames` frames (B, S, W)."""
        if self.preemphasis:
            waveform = waveform[:, 1:] - self.preemphasis * waveform[:, :-1]
        half = self.n_fft // 2
        # what F.pad(mode="reflect") does, in a fifth of the time
        start, end = waveform[:, 1 : half + 1].flip(1), waveform[:, -half - 1 : -1].flip(1)
        return torch.cat([start, waveform, end], dim=1).unfold(1, self.n_fft, self.hop_length)[:, :frames]

    def power(self, frames: Tensor) -> Tensor:
        """(B, S, W) -> (B, S, K)."""
        spectrum = torch.fft.rfft(frames * self.window, n=self.n_fft)  # (B, S, K)
        return spectrum.real.square() + spectrum.imag.square()


class KaldiFrames(CentredFrames):
    """Frames that begin at the multiples of the hop; each loses its own mean, and is pre-emphasised separately.

    Source: `torchaudio.compliance.kaldi.fbank` with `snip_edges` and `round_to_power_of_two`. `num_frames` counts those
    that begin in the waveform, `forward` returns those that end in it: one or two fewer. The window stands at the start
    of the FFT.
    """

    def _place(self, window: Tensor) -> Tensor:
        """The window as it is: W is win_length."""
        return window

    @property
    def least_samples(self) -> int:
        """The fewest samples that make a frame."""
        return self.win_length

    @property
    def first_middle(self) -> int:
        """The sample in the middle of the first frame."""
        return self.win_length // 2

    def num_frames(self, num_samples: int) -> int:
        """Frames that begin in a waveform of `num_samples`."""
        return num_samples // self.hop_length

    def forward(self, waveform: Tensor, frames: int) -> Tensor:
        """(B, T) -> the first frames, or as many as end in the waveform (B, S, W)."""
        return waveform.unfold(1, self.win_length, self.hop_length)[:, :frames]

    def power(self, frames: Tensor) -> Tensor:
        """(B, S, W) -> (B, S, K)."""
        frames = frames - frames.mean(dim=2, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
        return super().power(frames - self.preemphasis * before)
