"""Clips stored as they are, one after the other, in a zip or a tar."""

import io
import os
from typing import Any

from maskspec_fairseq.audio import AudioError

BUFFER = 2**16  # bytes per read, because a decoder asks for a few at a time


class ByteRange(io.RawIOBase):
    """A range of bytes of an open pack, as a file."""

    def __init__(self, pack: "BytePack", offset: int, length: int) -> None:
        self._pack = pack  # keeps the file open
        self._offset = offset
        self._length = length
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = max(0, offset + (0, self._position, self._length)[whence])
        return self._position

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), max(0, self._length - self._position))
        data = os.pread(self._pack.file, count, self._offset + self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class BytePack:
    """An uncompressed zip or tar, read by byte offsets; its directory, perhaps of millions of entries, is not parsed.

    Attributes:
        file: its descriptor.
    """

    def __init__(self, pack: str) -> None:
        self.file = -1  # for __del__, if the next line raises
        self.file = os.open(pack, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self.file >= 0:
            os.close(self.file)

    def clip(self, path: str, offset: int, length: int) -> io.BufferedReader:
        """A member as a file; only what is asked for is read.

        Raises:
            AudioError: the range is empty or not within the file.
        """
        size = os.fstat(self.file).st_size  # now: the file may have been cut off since it was opened
        if not length or offset + length > size:
            raise AudioError(
                f"{path}: expected an offset and a length above 0 within the {size} bytes of the pack, found the "
                f"bytes from {offset} to {offset + length}; build the manifest again, or get the pack again if it is "
                "cut off"
            )
        return io.BufferedReader(ByteRange(self, offset, length), BUFFER)
