"""Clips in packs: files that hold many clips. A path in a manifest names a clip by its place in the pack.

    <file>.zip:<byte offset>:<byte length>   a zip whose members are stored, not compressed; fairseq's notation
    <file>.tar:<byte offset>:<byte length>   a member of an uncompressed tar
    <file>.hdf:<index>                       a row of an HDF5 file, see `hdf5_pack.py`; also .hdf5 and .h5
    <file>.parquet:<index>                   a row of a Parquet file, see `parquet_pack.py`

The case of an extension does not matter.
"""

import functools
import io
import os
import re
import stat
from typing import Optional, Union

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.byte_pack import BytePack
from maskspec_fairseq.audio.hdf5_pack import Hdf5Pack, PcmReader
from maskspec_fairseq.audio.parquet_pack import ParquetPack

HDF5_EXTENSIONS = (".hdf", ".hdf5", ".h5")
PARQUET_EXTENSIONS = (".parquet",)
BYTES_PATH = re.compile(r"([^\0]+\.(?:zip|tar)):([0-9]{1,18}):([0-9]{1,18})", re.IGNORECASE)
ROW_PATH = re.compile(r"([^\0]+\.(?:hdf|hdf5|h5|parquet)):([0-9]{1,18})", re.IGNORECASE)
OPEN_PACKS = 64  # at most, per process; AudioSet as packed by PANNs is 43 files
Pack = Union[BytePack, Hdf5Pack, ParquetPack]


def split_path(path: str) -> Optional[tuple[str, tuple[int, ...]]]:
    """The pack that a path points into and the numbers after it; None if the path is a file of its own.

    An existing file of that whole name wins, so manifests written before packs were supported keep their meaning.
    """
    match = BYTES_PATH.fullmatch(path) or ROW_PATH.fullmatch(path)
    if match is None or os.access(path, os.F_OK):  # faster than os.stat for a path that does not exist
        return None
    return match[1], tuple(map(int, match.groups()[1:]))


def real_path(path: str) -> str:
    """A path with its links resolved, for clips in packs too: equal paths are the same clip."""
    place = split_path(path)
    if place is None:
        return os.path.realpath(path)
    pack, numbers = place
    return ":".join([os.path.realpath(pack), *map(str, numbers)])


def check_regular(path: str) -> None:
    """Check that a path is a file: opening a pipe would block until its other end is opened.

    Raises:
        OSError: it is something else, or does not exist.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        raise OSError("a directory" if stat.S_ISDIR(mode) else "a pipe or a device")


@functools.lru_cache(maxsize=OPEN_PACKS)
def _opened(process: int, pack: str) -> Pack:
    check_regular(pack)
    if pack.lower().endswith(HDF5_EXTENSIONS):
        return Hdf5Pack(pack)
    return ParquetPack(pack) if pack.lower().endswith(PARQUET_EXTENSIONS) else BytePack(pack)


# A forked process closes the packs of its parent and opens its own. The process id in the cache's key would be enough
# for zips, but HDF5 returns the same descriptor again for a file that is already open.
os.register_at_fork(after_in_child=_opened.cache_clear)


def open_pack(pack: str) -> Pack:
    """The pack at a path, opened once per process and kept open while it is among the most recently used ones.

    Raises:
        AudioError: there is no such file, or see `Hdf5Pack` and `ParquetPack`.
    """
    try:
        return _opened(os.getpid(), pack)
    except (OSError, ValueError) as error:
        raise AudioError(
            f"{pack}: expected a pack of clips, found: {error}; correct line 1 of the manifest if it has moved"
        ) from error


def open_clip(path: str, pack: str, numbers: tuple[int, ...]) -> Union[io.BufferedIOBase, PcmReader]:
    """What a path into a pack points to: an audio file, or a reader of a waveform.

    Args:
        path: the whole path, for messages.
        pack: the file, see `split_path`.
        numbers: the place in it, see `split_path`.

    Raises:
        AudioError: there is no such pack, or no such clip in it.
    """
    return open_pack(pack).clip(path, *numbers)
