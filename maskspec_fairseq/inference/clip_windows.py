"""Whole clips as windows of a model's length, for evaluation.

Shapes: T samples, W samples of a window, K windows.
"""

import numpy as np
from torch.utils.data import Dataset

from maskspec_fairseq.audio.read import load_clip
from maskspec_fairseq.data_dir.manifest import Manifest


def windows(waveform: np.ndarray, size: int, hop: int) -> np.ndarray:
    """(T,) -> (K, W): every sample is in a window, the last one ends where the waveform ends, a short one is padded."""
    if len(waveform) <= size:
        return np.pad(waveform, (0, size - len(waveform)))[None]
    starts = [*range(0, len(waveform) - size, hop), len(waveform) - size]
    return np.stack([waveform[start : start + size] for start in starts])


class WindowedClips(Dataset):
    """Clips of a manifest as float32 (K, W)."""

    def __init__(self, manifest: Manifest, sample_rate: int, channel: str, size: int, hop: int) -> None:
        self.manifest = manifest
        self.sample_rate = sample_rate
        self.channel = channel
        self.size = size
        self.hop = hop

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, index: int) -> np.ndarray:
        waveform, _ = load_clip(self.manifest.full_path(index), self.sample_rate, channel=self.channel)
        return windows(waveform, self.size, self.hop)
