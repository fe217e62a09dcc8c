"""Pieces of long files. A path in a manifest may name a part of a file by its place in the file.

    <path>:<first frame>:<frames>   frames at the file's own rate, counted from 0

`<path>` is a file, or a clip in a pack (`audio/packs.py`), whose notation comes first: `long.zip:0:96044:441000:441000`.
"""

import os
import re
from typing import NamedTuple, Optional

from maskspec_fairseq.audio.packs import split_path

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
