"""Waveform to the power spectra of its frames, in the two ways of the front ends' sources.

Shapes: B batch, T samples, S frames, W samples of a window, K = n_fft // 2 + 1 frequency bins.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOWS = {
    "hamming": torch.hamming_window,
    "hann_symmetric": lambda length: torch.hann_window(length, periodic=False),
}


class CentredFrames(nn.Module):
    """Frames centred on the multiples of the hop, as `torch.stft` has them; pre-emphasis goes before.

    Args:
        n_fft, hop_length, win_length: samples.
        window: a row of `WINDOWS`.
        preemphasis: share of the last sample that is taken from each one, 0 for none.
    """

    def __init__(self, n_fft: int, hop_length: int, win_length: int, window: str, preemphasis: float) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.win_length = win_length
        self.preemphasis = preemphasis
        self.register_buffer("window", WINDOWS[window](win_length), persistent=False)

    @property
    def least_samples(self) -> int:
        """What a waveform needs for its ends to be reflected."""
        return self.n_fft // 2 + 1

    def num_frames(self, num_samples: int) -> int:
        return 1 + (num_samples - (1 if self.preemphasis else 0)) // self.hop_length

    def forward(self, waveform: Tensor, frames: int) -> Tensor:
        """(B, T) -> power of the first frames (B, K, S)."""
        if self.preemphasis:
            waveform = waveform[:, 1:] - self.preemphasis * waveform[:, :-1]
        spectrum = torch.stft(
            waveform,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            win_length=self.win_length,
            window=self.window,
            center=True,
            return_complex=True,
        )
        return torch.view_as_real(spectrum[..., :frames]).square().sum(-1)


class KaldiFrames(CentredFrames):
    """Frames that begin at the multiples of the hop, each with its mean removed and pre-emphasised for itself.

    Source: `torchaudio.compliance.kaldi.fbank` with `snip_edges` and `round_to_power_of_two`. `num_frames` counts those
    that begin in the waveform, `forward` returns those that end in it: one or two fewer.
    """

    @property
    def least_samples(self) -> int:
        """What a waveform needs for one frame."""
        return self.win_length

    def num_frames(self, num_samples: int) -> int:
        return num_samples // self.hop_length

    def forward(self, waveform: Tensor, frames: int) -> Tensor:
        """(B, T) -> power of the first frames, or of as many as end in the waveform (B, K, S)."""
        windows = waveform.unfold(1, self.win_length, self.hop_length)[:, :frames]  # (B, S, W)
        windows = windows - windows.mean(dim=2, keepdim=True)
        before = F.pad(windows, (1, 0), mode="replicate")[..., :-1]
        windows = (windows - self.preemphasis * before) * self.window
        spectrum = torch.fft.rfft(windows, n=self.n_fft)
        return torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)
