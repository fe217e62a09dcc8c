"""Wavs that are nothing but a header of 44 bytes and samples of 16 bits, read without libsndfile.

libsndfile reads memory through a call into Python for every piece that it wants, which for a short clip in a zip takes
longer than all else. What is not exactly plain stays with it.

Shapes: T samples, C channels.
"""

import struct
from typing import Optional

import numpy as np

from maskspec_fairseq.data.int16_clip import Int16Clip

# RIFF, size of the rest, WAVE; fmt, its size, 1 for PCM, C, rate, bytes a second, bytes of C samples, bits; data, size
HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
USUAL_CHANNELS = (1, 2)
USUAL_RATES = range(1, 192001)  # Hz; libsndfile says what it makes of others


class PlainWav(Int16Clip):
    """The samples of a wav, bit by bit what libsndfile gives."""

    format = "WAV"
    full_scale = 32768  # which libsndfile divides by

    def __init__(self, samples: np.ndarray, sample_rate: int) -> None:
        """samples: int16 (T, C)."""
        super().__init__(*samples.shape, sample_rate)
        self._samples = samples

    def close(self) -> None:
        self._samples = None

    def samples(self, start: int, end: int) -> np.ndarray:
        return self._samples[start:end]


def plain_wav(data: bytes) -> Optional[PlainWav]:
    """The wav that the bytes of a file are; None where they are anything else, or any number of the header is off."""
    if len(data) <= HEADER.size:  # without samples it is not for here either
        return None
    riff, rest, wave, fmt, fmt_size, pcm, channels, rate, byte_rate, block, bits, name, size = HEADER.unpack_from(data)
    if (riff, wave, fmt, fmt_size, pcm, bits, name) != (b"RIFF", b"WAVE", b"fmt ", 16, 1, 16, b"data"):
        return None
    if channels not in USUAL_CHANNELS or rate not in USUAL_RATES:
        return None
    if (block, byte_rate, rest, size) != (2 * channels, rate * block, len(data) - 8, len(data) - HEADER.size):
        return None
    if size % block:
        return None
    return PlainWav(np.frombuffer(data, "<i2", offset=HEADER.size).reshape(-1, channels), rate)
