"""Measure the log-mel statistics that the front end normalises by; `data_dir/mel_stats.py` writes and reads them.

Subsets are measured separately, so that the statistics of several can be combined: those of four folds out of five,
say, without the fifth.

Shapes: F mel bins, S frames, T samples.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import load_clip
from maskspec_fairseq.modules.log_mel import LogMel


def measure_mel_statistics(
    front_end: LogMel, files: Iterable[str], clip_sec: float, channel: str
) -> tuple[dict[str, Any], list[str]]:
    """Mean and standard deviation of every mel bin over the beginnings of files, padding left out.

    Args:
        front_end: gives the log-mel, and the sample rate that files are resampled to.
        files: paths of audio.
        clip_sec: s, the length of the beginning.
        channel: see `maskspec_fairseq.audio.read.mix_down`.

    Returns:
        A subset's entry in `mel_stats.json` (`clips` and `frames` measured, `mean` and `std` of F values each), and a
        message for every file that could not be read.

    Raises:
        AudioError: none of the files could be read.
    """
    front_end = front_end.eval()
    total, squares = np.zeros(front_end.n_mels), np.zeros(front_end.n_mels)  # (F,)
    frames, clips, left_out = 0, 0, []
    for file in files:
        try:
            waveform, num_samples = load_clip(file, front_end.sample_rate, clip_sec=clip_sec, channel=channel)  # (T,)
        except AudioError as error:
            left_out.append(str(error))
            continue
        with torch.no_grad():
            log_mel = front_end.log_mel(torch.from_numpy(waveform)[None])[0].double().numpy()  # (F, S)
        log_mel = log_mel[:, : 1 + num_samples // front_end.hop_length]  # (F, frames that are not padding)
        total += log_mel.sum(axis=1)
        squares += np.square(log_mel).sum(axis=1)
        frames += log_mel.shape[1]
        clips += 1
    if not clips:
        raise AudioError(f"expected clips to measure, found none that can be read; the last one: {left_out[-1:]}")
    mean = total / frames
    std = np.sqrt(np.maximum(squares / frames - mean**2, 0))
    entry = {
        "clips": clips,
        "frames": frames,
        "mean": [round(float(value), 6) for value in mean],
        "std": [round(float(value), 6) for value in std],
    }
    return entry, left_out


def sample_of_clips(num_clips: int, most: int, seed: int) -> list[int]:
    """At most `most` of the indices 0 to num_clips - 1, drawn by the seed, ascending."""
    if num_clips <= most:
        return list(range(num_clips))
    return sorted(np.random.default_rng(seed).choice(num_clips, size=most, replace=False).tolist())
