"""Files that hold several recordings joined byte by byte. libsndfile decodes the first one alone.

Sources: RFC 3533 (the pages of an ogg); the Xing header of an mp3, which says how many bytes its recording has.
"""

import functools
import io
import mmap
import struct

import soundfile

OGG_PAGE = struct.Struct("<4sBB20xB")  # signature, version, flags, ..., number of lengths that follow
OGG_SIGNATURE = b"OggS"
OGG_BEGINS = 2  # flag of the first page of a stream
XING_SEARCHED = 1 << 18  # bytes: after a tag, which may hold a picture
MP3_SYNC = 4 + 32  # the Xing header is at most this far behind the beginning of its frame
XING_FRAMES, XING_BYTES = 1, 2  # flags
LEAST_FRAMES = 10 * 1152  # less at the end of an mp3 is a tag, or a frame that its header does not count


@functools.lru_cache(maxsize=64)
def further_frames(path: str) -> int:
    """Frames of the recordings after the first one in an ogg or an mp3; 0 for any other file.

    Raises:
        OSError, soundfile.SoundFileError: the file cannot be read.
    """
    find_starts = {"OGG": _ogg_starts, "MP3": _mp3_starts}.get(soundfile.info(path).format)
    if find_starts is None:
        return 0
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        starts = find_starts(data)
        ends = [*starts[1:], len(data)]
        return sum(_frames(data[start:end]) for start, end in zip(starts, ends))


def _frames(data: bytes) -> int:
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            return file.frames
    except soundfile.SoundFileError:
        return 0


def _ogg_starts(data: mmap.mmap) -> list[int]:
    """Where a stream begins after pages of others; streams that begin together are one recording."""
    starts, place, began = [], 0, True
    while place + OGG_PAGE.size <= len(data):
        signature, _, flags, lengths = OGG_PAGE.unpack_from(data, place)
        if signature != OGG_SIGNATURE:  # damaged: the next page
            place = data.find(OGG_SIGNATURE, place + 1)
            if place < 0:
                break
            continue
        begins = bool(flags & OGG_BEGINS)
        if begins and not began:
            starts.append(place)
        began = begins
        body = place + OGG_PAGE.size
        place = body + lengths + sum(data[body : body + lengths])
    return starts


def _mp3_starts(data: mmap.mmap) -> list[int]:
    """Where the bytes that the Xing header counts end, if a recording follows."""
    place = max(data.find(name, 0, XING_SEARCHED) for name in (b"Xing", b"Info"))
    frame = data.rfind(b"\xff", max(0, place - MP3_SYNC), max(0, place))
    if place < 0 or frame < 0 or data[frame + 1] & 0xE0 != 0xE0 or place + 16 > len(data):
        return []
    flags, *numbers = struct.unpack_from(">3I", data, place + 4)
    if not flags & XING_BYTES:
        return []
    end = frame + numbers[flags & XING_FRAMES]
    return [end] if end < len(data) and _frames(data[end:]) >= LEAST_FRAMES else []
