"""Clips in packs: files that hold many clips. A path of a manifest names one by its place in a pack.

    <file>.zip:<byte offset>:<byte length>   a zip whose members are stored, not compressed; fairseq's notation
    <file>.hdf:<index>                       an HDF5 file, by what is in it:
        `mp3`       (N,) rows of uint8, each the bytes of a whole file. Source: PaSST's and MaskSpec's packs
        `waveform`  int16 (N, T), with the attribute `sample_rate`. Source: PANNs, utils/dataset.py and utilities.py

Extensions of an HDF5 file are .hdf, .hdf5 and .h5, and the case of an extension does not matter.

Shapes: N clips of a pack, T samples.
"""

import functools
import io
import os
import re
import stat
from typing import Optional, Tuple, Union

import numpy as np

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.int16_clip import Int16Clip

ZIP_PATH = re.compile(r"([^\0]+\.zip):([0-9]{1,18}):([0-9]{1,18})", re.IGNORECASE)
HDF5_EXTENSIONS = (".hdf", ".hdf5", ".h5")
HDF5_PATH = re.compile(r"([^\0]+\.(?:hdf|hdf5|h5)):([0-9]{1,18})", re.IGNORECASE)
OPEN_PACKS = 64  # at most, in each process; AudioSet is 43 files in PANNs' packing
GET_AGAIN = "get the pack again"
BUILD_AGAIN = "build the manifest again"


def split_path(path: str) -> Optional[Tuple[str, Tuple[int, ...]]]:
    """The pack that a path leads into and the numbers after it; None for a file of its own.

    Where there is a file of that whole name, it is meant: nothing that a manifest named before there were packs means
    anything else now.
    """
    match = ZIP_PATH.fullmatch(path) or HDF5_PATH.fullmatch(path)
    if match is None or os.access(path, os.F_OK):  # which is faster than os.stat where nothing is there
        return None
    return match[1], tuple(map(int, match.groups()[1:]))


def real_path(path: str) -> str:
    """A path without links, of a clip in a pack too: two clips are the same where these are."""
    place = split_path(path)
    if place is None:
        return os.path.realpath(path)
    pack, numbers = place
    return ":".join([os.path.realpath(pack), *map(str, numbers)])


class WaveformRow(Int16Clip):
    """A row of `waveform`. Only the samples that are asked for are read."""

    format = "HDF5"
    full_scale = 32767  # by which PANNs multiplies

    def __init__(self, pack: "Hdf5Pack", index: int) -> None:
        super().__init__(pack.clips.shape[1], 1, pack.sample_rate)
        self._pack = pack  # keeps the file open
        self._index = index

    def close(self) -> None:
        self._pack = None

    def samples(self, start: int, end: int) -> np.ndarray:
        return self._pack.clips[self._index, start:end][:, None]


class ZipPack:
    """An uncompressed zip, read by offsets alone: its directory, which may have millions of entries, is left alone."""

    def __init__(self, pack: str) -> None:
        self._file = -1  # for __del__, where the next line fails
        self._file = os.open(pack, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self._file).st_size

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    def clip(self, path: str, offset: int, length: int) -> io.BytesIO:
        """The bytes of a member.

        Raises:
            AudioError: none, or a range that is not in the file.
        """
        if not length or offset + length > self.size:
            raise AudioError(
                f"{path}: expected an offset and a length above 0 within the {self.size} bytes of the zip, found the "
                f"bytes from {offset} to {offset + length}; {BUILD_AGAIN}, or {GET_AGAIN} if it is cut off"
            )
        data = os.pread(self._file, length, offset)
        if len(data) < length:
            raise AudioError(f"{path}: expected {length} bytes, found {len(data)}; has the zip been cut off meanwhile?")
        return io.BytesIO(data)


class Hdf5Pack:
    """An HDF5 file of PaSST's and MaskSpec's kind or of PANNs'.

    Attributes:
        file: the open `h5py.File`.
        clips: its dataset `mp3` or `waveform`.
        sample_rate: of waveforms, Hz; 0 where the clips are mp3s.
        unnamed: rows of waveforms whose `audio_name` is empty.

    Raises:
        AudioError: it cannot be opened, or is of neither kind.
    """

    def __init__(self, pack: str) -> None:
        try:
            import h5py
        except ImportError as error:
            raise AudioError(
                f"{pack}: expected h5py, which reads HDF5 files, found none; pip install 'maskspec-fairseq[hdf5]'"
            ) from error
        try:
            # without locks, which some network file systems lack: it is read only
            self.file = h5py.File(pack, "r", locking=False)
            kind = "mp3" if "mp3" in self.file else "waveform"
            self.clips = self.file.get(kind)
            self.sample_rate = int(self.file.attrs.get("sample_rate", 0)) if kind == "waveform" else 0
            names = self.file["audio_name"][:] if self.sample_rate and "audio_name" in self.file else ()
            self.unnamed = frozenset(np.flatnonzero([not name for name in names]).tolist())
        except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
            raise AudioError(f"{pack}: expected an HDF5 file that can be read, found: {error}; {GET_AGAIN}") from error
        usable = isinstance(self.clips, h5py.Dataset)
        if usable and kind == "mp3":
            usable = self.clips.ndim == 1 and h5py.check_vlen_dtype(self.clips.dtype) == np.uint8
        elif usable:
            usable = self.clips.ndim == 2 and self.clips.dtype == np.int16 and self.sample_rate > 0
        if not usable:
            found = [f"{name} ({getattr(self.file.get(name), 'dtype', 'a group')})" for name in self.file]
            raise AudioError(
                f"{pack}: expected a dataset mp3 of rows of uint8 (PaSST, MaskSpec), or waveform of int16 and an "
                f"attribute sample_rate (PANNs), found {', '.join(found) or 'no dataset'} and the attributes "
                f"{sorted(self.file.attrs)}; name another file"
            )

    def is_missing(self, index: int) -> bool:
        """Whether a row has no name and no sound: PANNs leaves it so where the file was not there to be packed."""
        return index in self.unnamed and not self.clips[index].any()

    def clip(self, path: str, index: int) -> Union[io.BytesIO, WaveformRow]:
        """The bytes of an mp3, or a waveform.

        Raises:
            AudioError: there is none at this index, or it cannot be read.
        """
        if index >= len(self.clips):
            raise AudioError(f"{path}: expected an index below {len(self.clips)}, found {index}; {BUILD_AGAIN}")
        try:
            if self.sample_rate:
                if self.is_missing(index):
                    raise AudioError(
                        f"{path}: expected a clip, found a row of zeros without a name, as of a file that was not "
                        f"there when it was packed; {BUILD_AGAIN}, which leaves it out"
                    )
                return WaveformRow(self, index)
            data = self.clips[index].tobytes()
        except OSError as error:
            raise AudioError(f"{path}: expected a row that can be read, found: {error}; {GET_AGAIN}") from error
        if not data:
            raise AudioError(f"{path}: expected the bytes of an mp3, found an empty row; {BUILD_AGAIN}")
        return io.BytesIO(data)


@functools.lru_cache(maxsize=OPEN_PACKS)
def _opened(process: int, pack: str) -> Union[ZipPack, Hdf5Pack]:
    mode = os.stat(pack).st_mode
    if not stat.S_ISREG(mode):  # opening a pipe would wait for its other end
        raise OSError("a directory" if stat.S_ISDIR(mode) else "a pipe or a device")
    return Hdf5Pack(pack) if pack.lower().endswith(HDF5_EXTENSIONS) else ZipPack(pack)


# A process that was forked closes what its parent had open and opens its own. The number of the process in the key
# would do for a zip, but HDF5 gives a file that is open already the same descriptor again.
os.register_at_fork(after_in_child=_opened.cache_clear)


def open_pack(pack: str) -> Union[ZipPack, Hdf5Pack]:
    """The pack at a path, opened once in a process and kept open while it is among the last ones used.

    Raises:
        AudioError: there is none, or see `Hdf5Pack`.
    """
    try:
        return _opened(os.getpid(), pack)
    except (OSError, ValueError) as error:
        raise AudioError(
            f"{pack}: expected a pack of clips, found: {error}; correct line 1 of the manifest if it has moved"
        ) from error


def open_clip(path: str, pack: str, numbers: Tuple[int, ...]) -> Union[io.BytesIO, WaveformRow]:
    """What a path in a pack leads to: the bytes of a file of audio, or a waveform.

    Args:
        path: the whole path, for messages.
        pack, numbers: the path's parts, see `split_path`.

    Raises:
        AudioError: there is no such pack or no such clip in it.
    """
    return open_pack(pack).clip(path, *numbers)
