"""Wavs that are nothing but a header of 44 bytes and samples of 16 bits, read without libsndfile.

soundfile takes longer to open a short clip than to decode it, and libsndfile reads the memory of a zip's clip through a
call into Python for every piece that it wants. What is not exactly plain stays with it.

Shapes: T samples, C channels.
"""

import struct
from typing import BinaryIO, Optional

import numpy as np

from maskspec_fairseq.audio.int16_clip import Int16Clip

# RIFF, size of the rest, WAVE; fmt, its size, 1 for PCM, C, rate, bytes a second, bytes of C samples, bits; data, size
HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
USUAL_CHANNELS = (1, 2)
USUAL_RATES = range(1, 192001)  # Hz; libsndfile says what it makes of others


class PlainWav(Int16Clip):
    """The samples of a wav, bit by bit what libsndfile gives."""

    format = "WAV"
    full_scale = 32768  # which libsndfile divides by

    def __init__(self, stream: BinaryIO, frames: int, channels: int, sample_rate: int) -> None:
        """stream: of the whole file, which is closed with the clip."""
        super().__init__(frames, channels, sample_rate)
        self._stream = stream

    def close(self) -> None:
        self._stream.close()

    def samples(self, start: int, end: int) -> np.ndarray:
        block = 2 * self.channels
        self._stream.seek(HEADER.size + start * block)
        found = self._stream.read((min(end, self.frames) - start) * block)
        return np.frombuffer(found, "<i2").reshape(-1, self.channels)


def plain_wav(stream: BinaryIO, length: int) -> Optional[PlainWav]:
    """The wav that a stream of so many bytes is; None where it is anything else, or any number of the header is off."""
    header = stream.read(HEADER.size)
    if length <= HEADER.size or len(header) < HEADER.size:  # without samples it is not for here either
        return None
    riff, rest, wave, fmt, fmt_size, pcm, channels, rate, byte_rate, block, bits, name, size = HEADER.unpack(header)
    if (riff, wave, fmt, fmt_size, pcm, bits, name) != (b"RIFF", b"WAVE", b"fmt ", 16, 1, 16, b"data"):
        return None
    if channels not in USUAL_CHANNELS or rate not in USUAL_RATES:
        return None
    if (block, byte_rate, rest, size) != (2 * channels, rate * block, length - 8, length - HEADER.size):
        return None
    if size % block:
        return None
    return PlainWav(stream, size // block, channels, rate)
