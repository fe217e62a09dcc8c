"""From a file, or a clip in a pack, to a mono waveform at a given rate.

soundfile decodes and soxr resamples. Paths into packs: `audio/packs.py`.

Shapes: T samples, C channels.
"""

import io
import logging
import math
import mmap
import os
from functools import partial
from typing import Callable, NamedTuple, Optional, Union

import numpy as np
import soundfile
import soxr

from maskspec_fairseq.audio import MIN_RATE, AudioError
from maskspec_fairseq.audio.exact_file import ExactFile
from maskspec_fairseq.audio.formats import conversion, is_decodable
from maskspec_fairseq.audio.packs import PcmReader, check_regular, open_clip, split_path
from maskspec_fairseq.audio.pieces import PieceReader, split_piece
from maskspec_fairseq.audio.unfinished_wav import finish, finish_clip

logger = logging.getLogger(__name__)

CHANNELS = ("mix", "left", "right", "mid")
MAX_ABS_SAMPLE = 1e10  # full scale is 1; the power of samples far above it cannot be summed in float32
UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's value for a header without a length
NO_MP3_FRAME = 7  # error code of libsndfile, whose text talks about missing files
LOUD = 100.0  # full scale is 1; above this the samples are on another scale, such as that of int16
SHOWN = 8  # bytes in a message about data that is not audio

AudioReader = Union[ExactFile, PcmReader, PieceReader]

_warned = mmap.mmap(-1, 1)  # shared with the loader processes, which are forked


def mix_down(audio: np.ndarray, channel: str) -> np.ndarray:
    """(T, C) -> (T,).

    Args:
        channel: "mix" for the mean of all channels, "left" or "right" for the first or second, "mid" for the mean of
            these two. A mono file is returned as it is.

    Raises:
        ValueError: unknown channel.
    """
    if channel not in CHANNELS:
        raise ValueError(f"expected task.channel out of {CHANNELS}, found {channel!r}")
    if audio.shape[1] == 1 or channel == "left":
        return audio[:, 0]
    if channel == "right":
        return audio[:, 1]
    return (audio if channel == "mix" else audio[:, :2]).mean(axis=1)


def open_audio(path: str) -> AudioReader:
    """Open a file, a clip in a pack, or a piece of either, for decoding.

    Raises:
        AudioError: the file is not a regular file, may not be read, is not audio, or its header has no length or a
            sample rate below `MIN_RATE`; there is no such clip in a pack, or the piece goes beyond the end.
    """
    piece = split_piece(path)
    if piece is not None:
        return PieceReader(path, piece, _open_whole(piece.path))
    return _open_whole(path)


def _open_whole(path: str) -> Union[ExactFile, PcmReader]:
    place = split_path(path)
    file = _open_file(path) if place is None else _open_in_pack(path, *place)
    if file.frames == UNKNOWN_FRAMES:
        file.close()
        raise AudioError(f"{path}: expected a header that says how long the file is, found none; encode it again")
    if file.samplerate < MIN_RATE:
        file.close()
        raise AudioError(
            f"{path}: expected a sample rate of at least {MIN_RATE} Hz in its header, found {file.samplerate}; "
            "encode it again at its true rate"
        )
    return file


def _open_file(path: str) -> ExactFile:
    try:
        check_regular(path)
        open(path, "rb").close()  # libsndfile calls every failure to open "System error"
        return _finished(ExactFile(path), partial(finish, path))
    except FileNotFoundError as error:
        raise AudioError(
            f"{path}: expected audio that soundfile decodes, found: {error.strerror}; correct the path"
        ) from error
    except PermissionError as error:
        raise AudioError(f"{path}: expected audio, found a file without permission to read it") from error
    except UnicodeEncodeError as error:
        raise AudioError(f"{path!r}: expected a path in UTF-8, found another; rename the file") from error
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:  # TypeError: .raw; ValueError: NUL
        if isinstance(error, (soundfile.SoundFileError, TypeError)) and not os.path.getsize(path):
            raise AudioError(f"{path}: expected audio, found a file of 0 bytes; get it again") from error
        found = "no frame of mp3" if getattr(error, "code", 0) == NO_MP3_FRAME else error
        cure = "" if is_decodable(path) else f"; convert it by {conversion(path)}"
        raise AudioError(f"{path}: expected audio that soundfile decodes, found: {found}{cure}") from error


def _open_in_pack(path: str, pack: str, numbers: tuple[int, ...]) -> Union[ExactFile, PcmReader]:
    clip = open_clip(path, pack, numbers)
    if isinstance(clip, PcmReader):
        return clip
    first_bytes = clip.read(SHOWN)
    clip.seek(0)
    try:
        return _finished(ExactFile(clip), partial(finish_clip, clip, path))
    except soundfile.SoundFileError as error:
        raise AudioError(
            f"{path}: expected audio that soundfile decodes, found {first_bytes!r} and so on "
            f"({getattr(error, 'error_string', error)}); is this where a clip begins, and stored uncompressed? "
            "If so, get the clip again"
        ) from error


def _finished(file: ExactFile, finish: Callable[[], Union[mmap.mmap, io.BytesIO, None]]) -> ExactFile:
    """An unfinished wav opened again, by its bytes with a length; any other file as it is."""
    content = finish() if not file.frames and file.format == "WAV" else None
    if content is None:
        return file
    file.close()
    return ExactFile(content)


class Crop(NamedTuple):
    """A waveform, float32 (T,), and where it comes from.

    Attributes:
        waveform: padded with zeros.
        num_samples: how many of the samples come from the file.
        start: its first frame in the file.
        rate: of the file, Hz.
    """

    waveform: np.ndarray
    num_samples: int
    start: int
    rate: int


def read_audio(
    path: str, clip_sec: Optional[float] = None, rng: Optional[np.random.Generator] = None
) -> tuple[np.ndarray, int]:
    """Decode a file or a crop of it, see `_read_crop`: float32 (T, C) and the file's sample rate, Hz."""
    audio, rate, _ = _read_crop(path, clip_sec, rng)
    return audio, rate


def _read_crop(
    path: str, clip_sec: Optional[float] = None, rng: Optional[np.random.Generator] = None
) -> tuple[np.ndarray, int, int]:
    """Decode a file or a crop of it; only the crop is read.

    Args:
        clip_sec: length of the crop, s, at most; None for the whole file.
        rng: draws where the crop of a longer file starts; None for its beginning.

    Returns:
        float32 (T, C), the file's sample rate, Hz, and the crop's first frame.

    Raises:
        AudioError: the file cannot be decoded, is empty, is shorter than its header says, or holds NaN, infinity or
            values far above full scale.
    """
    try:
        with open_audio(path) as file:
            total, rate = file.frames, file.samplerate
            wanted = total if clip_sec is None else min(total, math.ceil(clip_sec * rate))
            slack = file.length_slack
            last = max(0, total - wanted - slack)
            start = _draw_start(last, rng)
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
    return audio, rate, start


def check_sound(path: str, audio: np.ndarray) -> None:
    """Check that samples are finite and within a plausible range; warn of another scale, once per run.

    Args:
        audio: (T, C), T > 0.

    Raises:
        AudioError: NaN, infinity, or a value far above full scale.
    """
    peak = max(audio.max(), -audio.min())
    if not np.isfinite(peak):
        raise AudioError(f"{path}: expected finite samples, found NaN or infinity")
    if peak > MAX_ABS_SAMPLE:
        raise AudioError(f"{path}: expected samples with a full scale of 1, found {peak:.3g}; are these numbers sound?")
    if peak > LOUD and not _warned[0]:
        _warned[0] = 1
        logger.warning(
            "%s: expected samples with a full scale of 1, found a peak of %.6g; on the scale of int16, divide by 32768 "
            "(further files are not named)",
            path,
            peak,
        )


def load_clip(
    path: str,
    sample_rate: int,
    clip_sec: Optional[float] = None,
    channel: str = "mix",
    rng: Optional[np.random.Generator] = None,
) -> tuple[np.ndarray, int]:
    """Read, mix down and resample a clip, and pad it with zeros to `clip_sec`.

    Args:
        sample_rate: of the result, Hz.
        clip_sec: length of the result, s; None for that of the file.
        channel: see `mix_down`.
        rng: draws where the crop of a longer file starts; None for its beginning.

    Returns:
        float32 (T,) with T = round(clip_sec * sample_rate), and how many of the samples come from the file.

    Raises:
        AudioError: see `load_crop`.
    """
    crop = load_crop(path, sample_rate, clip_sec, channel, rng)
    return crop.waveform, crop.num_samples


def load_crop(
    path: str,
    sample_rate: int,
    clip_sec: Optional[float] = None,
    channel: str = "mix",
    rng: Optional[np.random.Generator] = None,
) -> Crop:
    """`load_clip`, and which part of the file the clip is.

    Raises:
        AudioError: see `_read_crop`; or the clip is too short for a single sample.
    """
    audio, rate, start = _read_crop(path, clip_sec, rng)
    waveform = mix_down(audio, channel)
    if rate != sample_rate:
        waveform = soxr.resample(waveform, rate, sample_rate, quality="HQ")
    if not len(waveform):
        raise AudioError(f"{path}: expected a sample at {sample_rate} Hz at least, found {len(audio)} at {rate} Hz")
    cropped = crop_waveform(waveform, sample_rate, clip_sec)
    return Crop(cropped.waveform, cropped.num_samples, start, rate)


def crop_waveform(
    waveform: np.ndarray, sample_rate: int, clip_sec: Optional[float] = None, rng: Optional[np.random.Generator] = None
) -> Crop:
    """A crop of a waveform in memory, float32 (T,).

    Args:
        clip_sec: length of the result, s; None for all of it.
        rng: draws where the crop of a longer waveform starts; None for its beginning.
    """
    length = len(waveform) if clip_sec is None else clip_samples(clip_sec, sample_rate)
    start = _draw_start(max(0, len(waveform) - length), rng)
    clip = np.ascontiguousarray(waveform[start : start + length])  # usually no copy
    num_samples = len(clip)
    if num_samples < length:
        clip = np.pad(clip, (0, length - num_samples))
    return Crop(clip, num_samples, start, sample_rate)


def _draw_start(last: int, rng: Optional[np.random.Generator]) -> int:
    """Where a crop starts: anywhere up to `last`, or at the beginning without random numbers."""
    return int(rng.integers(0, last, endpoint=True)) if rng is not None else 0


def clip_samples(clip_sec: float, sample_rate: int) -> int:
    """Samples of a clip of `clip_sec` seconds."""
    return round(clip_sec * sample_rate)
