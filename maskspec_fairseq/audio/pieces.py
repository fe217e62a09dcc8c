"""Pieces of long files. A path in a manifest may name a part of a file by its place in the file.

    <path>:<first frame>:<frames>   frames at the file's own rate, counted from 0

`<path>` is a file, or a clip in a pack (`audio/packs.py`), whose notation comes first: `a.zip:0:96044:441000:441000`.

Shapes: T frames, C channels.
"""

import os
import re
from typing import NamedTuple, Optional, Union

import numpy as np

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.exact_file import ExactFile
from maskspec_fairseq.audio.packs import PcmReader, split_path

PIECE_PATH = re.compile(r"([^\0]+):([0-9]{1,18}):([0-9]{1,18})")


class Piece(NamedTuple):
    """Frames `first` to `first + frames` of the file, or the clip in a pack, at `path`."""

    path: str
    first: int
    frames: int

    def __str__(self) -> str:
        return f"{self.path}:{self.first}:{self.frames}"


def split_piece(path: str) -> Optional[Piece]:
    """The piece that a path names; None if it names a whole file, or a whole clip in a pack.

    An existing file of that whole name wins.
    """
    match = PIECE_PATH.fullmatch(path)
    if match is None or split_path(path) is not None or os.access(path, os.F_OK):
        return None
    return Piece(match[1], int(match[2]), int(match[3]))


def file_on_disk(path: str) -> str:
    """The file that a path of a manifest leads into: itself, or what its piece or its clip in a pack is in."""
    piece = split_piece(path)
    path = path if piece is None else piece.path
    pack = split_path(path)
    return path if pack is None else pack[0]


class PieceReader:
    """A piece of an open file, with the methods of a `soundfile.SoundFile` that we use. Reads only what is asked for.

    Attributes:
        frames, samplerate, channels, format, length_slack: as of the file; `frames` are those of the piece.

    Raises:
        AudioError: the piece is empty or goes beyond the end of the file.
    """

    def __init__(self, path: str, piece: Piece, file: Union[ExactFile, PcmReader]) -> None:
        end = piece.first + piece.frames
        if not piece.frames or end > file.frames:
            file.close()
            raise AudioError(
                f"{path}: expected a piece within the {file.frames} frames of the file, found frames {piece.first} to "
                f"{end}; build the manifest again, or get the file again if it is cut off"
            )
        self.frames, self.samplerate, self.channels = piece.frames, file.samplerate, file.channels
        self.format = file.format
        # only what lies in the uncertain end of the file may be missing
        self.length_slack = min(piece.frames, max(0, end - (file.frames - file.length_slack)))
        self._file, self._first, self._position = file, piece.first, 0
        self._sought = not piece.first  # a seek costs decoding, so it waits for the read

    def __enter__(self) -> "PieceReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def seek(self, frames: int) -> None:
        """Make `frames`, counted from the beginning of the piece, the next frame that is read."""
        self._position, self._sought = frames, False

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """The next `frames` frames, fewer at the end of the piece: (T, C)."""
        if not self._sought:
            self._file.seek(self._first + self._position)
            self._sought = True
        audio = self._file.read(min(frames, self.frames - self._position), dtype=dtype, always_2d=always_2d)
        self._position += len(audio)
        return audio
