"""From a file to a mono waveform of the wanted rate. Decoding is soundfile's, resampling soxr's.

Shapes: T samples, C channels.
"""

import math
from typing import Optional, Tuple

import numpy as np
import soundfile
import soxr

CHANNELS = ("mix", "left", "right", "mid")


class AudioError(Exception):
    """A file does not hold the audio that it should."""


def mix_down(audio: np.ndarray, channel: str) -> np.ndarray:
    """(T, C) -> (T,).

    Args:
        channel: "mix" for the mean of all channels, "left" or "right" for the first or second, "mid" for the mean of
            these two. A mono file has but one channel to give.

    Raises:
        ValueError: another name.
    """
    if channel not in CHANNELS:
        raise ValueError(f"expected task.channel out of {CHANNELS}, found {channel!r}")
    if audio.shape[1] == 1 or channel == "left":
        return audio[:, 0]
    if channel == "right":
        return audio[:, 1]
    return (audio if channel == "mix" else audio[:, :2]).mean(axis=1)


def read_audio(
    path: str, clip_sec: Optional[float] = None, rng: Optional[np.random.Generator] = None
) -> Tuple[np.ndarray, int]:
    """Decode a file, or a piece of it; only what is needed is read.

    Args:
        clip_sec: the most that is read, s; None for everything.
        rng: draws where a piece of a longer file starts; None for its beginning.

    Returns:
        float32 (T, C) and the file's sample rate, Hz.

    Raises:
        AudioError: the file cannot be decoded, is empty, is shorter than its header says, or holds NaN or infinity.
    """
    try:
        with soundfile.SoundFile(path) as file:
            total, rate = file.frames, file.samplerate
            wanted = total if clip_sec is None else min(total, math.ceil(clip_sec * rate))
            start = int(rng.integers(0, total - wanted, endpoint=True)) if rng is not None else 0
            if start:
                file.seek(start)
            audio = file.read(wanted, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(f"{path}: expected audio that soundfile decodes, found: {error}") from error
    if total == 0:
        raise AudioError(f"{path}: expected audio, found a file of 0 frames")
    if len(audio) < wanted:
        raise AudioError(
            f"{path}: expected {wanted} frames from frame {start} of {total}, found {len(audio)}; is the file cut off?"
        )
    if not np.isfinite(audio).all():
        raise AudioError(f"{path}: expected finite samples, found NaN or infinity")
    return audio, rate


def load_clip(
    path: str,
    sample_rate: int,
    clip_sec: Optional[float] = None,
    channel: str = "mix",
    rng: Optional[np.random.Generator] = None,
) -> Tuple[np.ndarray, int]:
    """Read, mix down and resample a clip, and pad it with zeros to its length.

    Args:
        sample_rate: of the result, Hz.
        clip_sec: length of the result, s; None for the file's own.
        channel: see `mix_down`.
        rng: see `read_audio`.

    Returns:
        float32 (T,) with T = round(clip_sec * sample_rate), and how many of its samples are the file's.

    Raises:
        AudioError: see `read_audio`.
    """
    audio, rate = read_audio(path, clip_sec, rng)
    waveform = mix_down(audio, channel)
    if rate != sample_rate:
        waveform = soxr.resample(waveform, rate, sample_rate, quality="HQ")
    length = len(waveform) if clip_sec is None else clip_samples(clip_sec, sample_rate)
    clip = np.zeros(length, dtype=np.float32)
    num_samples = min(length, len(waveform))
    clip[:num_samples] = waveform[:num_samples]
    return clip, num_samples


def clip_samples(clip_sec: float, sample_rate: int) -> int:
    """Samples of a clip of `clip_sec` seconds."""
    return round(clip_sec * sample_rate)
