"""Samples of 16 bits that are read without libsndfile, as from a `soundfile.SoundFile`.

Shapes: T samples, C channels.
"""

import numpy as np


class Int16Clip:
    """What is used of a `soundfile.SoundFile`, over samples that a subclass has. The rate is in Hz.

    A subclass says its `format`, the `full_scale` that samples are divided by, and `samples`.
    """

    format: str
    full_scale: int

    def __init__(self, frames: int, channels: int, sample_rate: int) -> None:
        self.frames = frames
        self.channels = channels
        self.samplerate = sample_rate
        self._position = 0

    def samples(self, start: int, end: int) -> np.ndarray:
        """int16 (T, C), fewer where the clip ends before."""
        raise NotImplementedError

    def __enter__(self) -> "Int16Clip":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the samples."""
        raise NotImplementedError

    def seek(self, frames: int) -> None:
        self._position = frames

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """The next samples, (T, C), of full scale 1."""
        samples = self.samples(self._position, self._position + frames).astype(dtype)
        self._position += len(samples)
        samples /= self.full_scale
        return samples
