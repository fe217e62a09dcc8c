"""Wavs that are nothing but a header of 44 bytes and samples of 16 bits, read without libsndfile.

libsndfile reads memory through a call into Python for every piece that it wants, which for a short clip in a zip takes
longer than all else. What is not exactly plain stays with it.

Shapes: T samples, C channels.
"""

import struct
from typing import Optional

import numpy as np

# RIFF, size of the rest, WAVE; fmt, its size, 1 for PCM, C, rate, bytes a second, bytes of C samples, bits; data, size
HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
FULL_SCALE = 32768  # which libsndfile divides by
USUAL_CHANNELS = (1, 2)
USUAL_RATES = range(1, 192001)  # Hz; libsndfile says what it makes of others


class PlainWav:
    """The samples of a wav, with what is used of a `soundfile.SoundFile`. The rate is in Hz."""

    format = "WAV"

    def __init__(self, samples: np.ndarray, sample_rate: int) -> None:
        """samples: int16 (T, C)."""
        self.frames, self.channels = samples.shape
        self.samplerate = sample_rate
        self._samples = samples
        self._position = 0

    def __enter__(self) -> "PlainWav":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._samples = self._samples[:0]

    def seek(self, frames: int) -> None:
        self._position = frames

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """The next samples, (T, C), x / 32768, bit by bit what libsndfile gives."""
        samples = self._samples[self._position : self._position + frames].astype(dtype)
        self._position += len(samples)
        samples /= FULL_SCALE
        return samples


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
