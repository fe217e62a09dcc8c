"""From a file, or a clip in a pack, to a mono waveform of the wanted rate.

Decoding is soundfile's but for plain wavs (`data/plain_wav.py`), resampling soxr's. What a path in a pack is:
`data/packs.py`.

Shapes: T samples, C channels.
"""

import math
import os
import stat
from typing import Optional, Tuple, Union

import numpy as np
import soundfile
import soxr

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.int16_clip import Int16Clip
from maskspec_fairseq.audio.packs import open_clip, split_path
from maskspec_fairseq.audio.plain_wav import PlainWav, plain_wav

CHANNELS = ("mix", "left", "right", "mid")
MAX_ABS_SAMPLE = 1e10  # full scale is 1; the power of what is far above cannot be summed in float32
UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's number where a file does not say
NO_MP3_FRAME = 7  # libsndfile's error, whose text is about files that are not there
MP3_FRAME = 1152  # samples, at most
SHOWN = 8  # bytes of what is no audio, in a message


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


class SequentialFile(soundfile.SoundFile):
    """A file that goes on decoding where the last read ended; it may still be sought.

    soundfile seeks to where it is after each read of a file that it can seek. At that an mp3 decoder forgets what the
    next frames refer to: recordings read in blocks were off by up to a tenth of full scale.
    """

    def seekable(self) -> bool:
        return False


def open_audio(path: str) -> Union[soundfile.SoundFile, Int16Clip]:
    """Open a file, or a clip in a pack, for decoding.

    Raises:
        AudioError: no regular file, one that may not be read or is no audio, or whose header lacks its length; no such
            clip in a pack.
    """
    place = split_path(path)
    file = _open_file(path) if place is None else _open_in_pack(path, *place)
    if file.frames == UNKNOWN_FRAMES:
        file.close()
        raise AudioError(f"{path}: expected a header that says how long the file is, found none; encode it again")
    return file


def _open_file(path: str) -> Union[soundfile.SoundFile, PlainWav]:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its other end
            raise OSError("a directory" if stat.S_ISDIR(status.st_mode) else "a pipe or a device")
        stream = open(path.encode(), "rb")  # which refuses a name that is no text, as soundfile does
        wav = plain_wav(stream, status.st_size)
        if wav is not None:
            return wav
        stream.close()
        return SequentialFile(path)
    except PermissionError as error:
        raise AudioError(f"{path}: expected audio, found a file without permission to read it") from error
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:  # of a .raw file, of a path with a NUL
        found = "no frame of mp3" if getattr(error, "code", 0) == NO_MP3_FRAME else error
        raise AudioError(f"{path}: expected audio that soundfile decodes, found: {found}") from error


def _open_in_pack(path: str, pack: str, numbers: Tuple[int, ...]) -> Union[soundfile.SoundFile, Int16Clip]:
    clip = open_clip(path, pack, numbers)
    if isinstance(clip, Int16Clip):
        return clip
    wav = plain_wav(clip, clip.getbuffer().nbytes)
    if wav is not None:
        return wav
    clip.seek(0)
    try:
        return SequentialFile(clip)
    except soundfile.SoundFileError as error:
        raise AudioError(
            f"{path}: expected audio that soundfile decodes, found {clip.getvalue()[:SHOWN]} and so on "
            f"({getattr(error, 'error_string', error)}); is this where a clip begins, and stored uncompressed? "
            "If so, get the clip again"
        ) from error


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
        AudioError: the file cannot be decoded, is empty, is shorter than its header says, or holds NaN, infinity or
            other numbers that are no sound.
    """
    try:
        with open_audio(path) as file:
            total, rate = file.frames, file.samplerate
            wanted = total if clip_sec is None else min(total, math.ceil(clip_sec * rate))
            slack = length_slack(file)
            last = max(0, total - wanted - slack)
            start = int(rng.integers(0, last, endpoint=True)) if rng is not None else 0
            if start:
                file.seek(start)
            audio = file.read(wanted, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, MemoryError, ValueError) as error:  # such as 2**40 frames
        raise AudioError(f"{path}: expected audio that soundfile decodes, found: {error}") from error
    if total == 0:
        raise AudioError(f"{path}: expected audio, found a file of 0 frames")
    if len(audio) < max(1, wanted - slack):
        raise AudioError(
            f"{path}: expected {wanted} frames from frame {start} of {total}, found {len(audio)}; is the file cut off?"
        )
    check_sound(path, audio)
    return audio, rate


def length_slack(file: soundfile.SoundFile) -> int:
    """How many frames a whole file may be shorter than its header says."""
    # The length of an mp3 without a Xing header is an estimate, up to 0.7 % too long in those that we wrote.
    return file.frames // 100 + 2 * MP3_FRAME if file.format == "MP3" else 0


def check_sound(path: str, audio: np.ndarray) -> None:
    """See that samples are numbers that sound can be.

    Raises:
        AudioError: NaN, infinity, or far above full scale.
    """
    peak = max(audio.max(), -audio.min())
    if not np.isfinite(peak):
        raise AudioError(f"{path}: expected finite samples, found NaN or infinity")
    if peak > MAX_ABS_SAMPLE:
        raise AudioError(f"{path}: expected samples with a full scale of 1, found {peak:.3g}; are these numbers sound?")


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
        AudioError: see `read_audio`; or a clip too short for a single sample.
    """
    audio, rate = read_audio(path, clip_sec, rng)
    waveform = mix_down(audio, channel)
    if rate != sample_rate:
        waveform = soxr.resample(waveform, rate, sample_rate, quality="HQ")
    if not len(waveform):
        raise AudioError(f"{path}: expected a sample at {sample_rate} Hz at least, found {len(audio)} at {rate} Hz")
    length = len(waveform) if clip_sec is None else clip_samples(clip_sec, sample_rate)
    num_samples = min(length, len(waveform))
    clip = np.ascontiguousarray(waveform[:length])  # mostly the array itself
    if num_samples < length:
        clip = np.pad(clip, (0, length - num_samples))
    return clip, num_samples


def clip_samples(clip_sec: float, sample_rate: int) -> int:
    """Samples of a clip of `clip_sec` seconds."""
    return round(clip_sec * sample_rate)
