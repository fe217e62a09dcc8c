"""Wavs of a recorder that was killed: the header still says 0 bytes of samples, and the samples follow it."""

import functools
import io
import logging
import mmap
import struct
from typing import Optional, TypeVar

logger = logging.getLogger(__name__)

CHUNK = struct.Struct("<4sI")  # id and length of what follows
LENGTH = struct.Struct("<I")
Bytes = TypeVar("Bytes", mmap.mmap, bytearray)


def finish(path: str) -> Optional[mmap.mmap]:
    """The bytes of an unfinished wav with a length in the header, in memory: the file does not change.

    Returns:
        None if the file is anything else, such as a wav that is complete and empty.

    Raises:
        OSError, ValueError: the file cannot be read or is empty.
    """
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return _finish(data, path)


def finish_clip(clip: io.BufferedIOBase, path: str) -> Optional[io.BytesIO]:
    """`finish` of a clip in a pack.

    Args:
        clip: its bytes, from the beginning to the end.
        path: of it, for the warning.
    """
    clip.seek(0)
    data = _finish(bytearray(clip.read()), path)
    return None if data is None else io.BytesIO(data)


def _finish(data: Bytes, path: str) -> Optional[Bytes]:
    """The same bytes, changed in place; None as for `finish`."""
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE" or CHUNK.unpack_from(data)[1] == len(data) - 8:
        return None
    place = 12
    while place + CHUNK.size < len(data):  # samples follow
        name, length = CHUNK.unpack_from(data, place)
        if name == b"data":
            if length:
                return None
            length = min(len(data) - place - CHUNK.size, 2**32 - 1)
            LENGTH.pack_into(data, place + 4, length - length % 2)  # libsndfile seeks to the padding of an odd one
            _note(path)
            return data
        place += CHUNK.size + length + length % 2
    return None


@functools.lru_cache(maxsize=1024)
def _note(path: str) -> None:  # once per file and process
    logger.warning("%s: its header says 0 samples and was never finished; all samples up to its end are used", path)
