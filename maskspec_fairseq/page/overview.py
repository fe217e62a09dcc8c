"""The log-mel of a file of any length, as many columns as a picture shows, read in blocks.

Shapes: T samples, F mel bins, N columns of the picture.
"""

import math
from itertools import chain
from typing import Callable, NamedTuple

import numpy as np
import torch

from maskspec_fairseq.audio.read import open_audio
from maskspec_fairseq.audio.stream import stream_clip
from maskspec_fairseq.audio.windows import cut
from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.modules.mel_banks import mel_centres_hz

MAX_COLUMNS = 1200
BLOCK_FRAMES = 512  # of the log-mel, computed at a time

Progress = Callable[[float], None]  # is given the share of the file that is done, from 0 to 1


class Overview(NamedTuple):
    """The log-mel of a file.

    Attributes:
        decibels: power of each mel bin, dB, float32 (F, N).
        centres_hz: of the mel bins, Hz, (F,).
        column_sec: from one column to the next, s.
        end_sec: length of the file, s.
    """

    decibels: np.ndarray
    centres_hz: np.ndarray
    column_sec: float
    end_sec: float


def length_sec(path: str) -> float:
    """Length of a file by its header, s.

    Raises:
        AudioError: see `open_audio`.
    """
    with open_audio(path) as file:
        return file.frames / file.samplerate


@torch.inference_mode()
def read_overview(front_end: LogMel, path: str, channel: str, progress: Progress = lambda share: None) -> Overview:
    """Compute the log-mel of a file; a column of a long one is the loudest of its frames, bin by bin.

    Args:
        front_end: of the model; its statistics are undone.
        path: of the file.
        channel: see `mix_down`.
        progress: is told how much is done.

    Raises:
        AudioError: see `load_clip`.
    """
    rate, hop = front_end.sample_rate, front_end.hop_length
    expected = max(1.0, length_sec(path) * rate)  # samples
    step = math.ceil(expected / hop / MAX_COLUMNS)  # frames per column
    frames = step * math.ceil(BLOCK_FRAMES / step)  # per block
    # What a frame sees of the blocks next to its own, and what `LogMel` cuts off to get whole patches.
    margin = front_end.patch_size[1] + -(-front_end.params.n_fft // hop)  # frames
    size, zeros = (frames + 2 * margin) * hop, np.zeros(margin * hop, dtype=np.float32)
    device, columns, num_samples = front_end.mel_mean.device, [], 0
    for window in cut(chain([zeros], stream_clip(path, rate, channel), [zeros]), size, frames * hop):
        num_samples = window.end - 2 * len(zeros)
        block = torch.from_numpy(np.pad(window.samples, (0, size - len(window.samples))))[None].to(device)  # (1, T)
        held = min(frames, max(1, math.ceil((num_samples - window.start) / hop)))
        decibels = front_end.to_decibels(front_end(block))[0, :, margin : margin + held]  # (F, held)
        columns += [part.amax(dim=1).cpu() for part in decibels.split(step, dim=1)]
        progress(min(1.0, num_samples / expected))
    params = front_end.params
    centres_hz = mel_centres_hz(params.mel_scale, params.n_mels, rate, params.f_min, params.f_max)
    return Overview(torch.stack(columns, dim=1).numpy(), centres_hz, step * hop / rate, num_samples / rate)
