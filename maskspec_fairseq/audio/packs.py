"""Clips in packs: files that hold many clips. A path in a manifest names a clip by its place in the pack.

    <file>.zip:<byte offset>:<byte length>   a zip whose members are stored, not compressed; fairseq's notation
    <file>.hdf:<index>                       a row of an HDF5 file, which has one of two datasets:
        `mp3`       (N,) rows of uint8, each the bytes of a whole file. Source: PaSST's and MaskSpec's packs
        `waveform`  int16 (N, T), with the attribute `sample_rate`. Source: PANNs, utils/dataset.py and utilities.py

HDF5 files end in .hdf, .hdf5 or .h5; the case of an extension does not matter.

Shapes: N clips in a pack, T samples.
"""

import functools
import io
import os
import re
import stat
from typing import Optional, Union

import numpy as np

from maskspec_fairseq.audio import AudioError

ZIP_PATH = re.compile(r"([^\0]+\.zip):([0-9]{1,18}):([0-9]{1,18})", re.IGNORECASE)
HDF5_EXTENSIONS = (".hdf", ".hdf5", ".h5")
HDF5_PATH = re.compile(r"([^\0]+\.(?:hdf|hdf5|h5)):([0-9]{1,18})", re.IGNORECASE)
OPEN_PACKS = 64  # at most, per process; AudioSet as packed by PANNs is 43 files
PCM_FULL_SCALE = 32767  # PANNs multiplies by it
GET_AGAIN = "get the pack again"
BUILD_AGAIN = "build the manifest again"


def split_path(path: str) -> Optional[tuple[str, tuple[int, ...]]]:
    """The pack that a path points into and the numbers after it; None if the path is a file of its own.

    An existing file of that whole name wins, so manifests written before packs were supported keep their meaning.
    """
    match = ZIP_PATH.fullmatch(path) or HDF5_PATH.fullmatch(path)
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


class PcmReader:
    """A row of `waveform`, with the methods of a `soundfile.SoundFile` that we use. Reads only the requested samples.

    Attributes:
        frames: T.
        samplerate: Hz.
    """

    format = "HDF5"
    channels = 1
    length_slack = 0  # see `ExactFile`

    def __init__(self, pack: "Hdf5Pack", index: int) -> None:
        self.frames = pack.clips.shape[1]
        self.samplerate = pack.sample_rate
        self._pack: Optional[Hdf5Pack] = pack  # keeps the file open
        self._index = index
        self._position = 0

    def __enter__(self) -> "PcmReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._pack = None

    def seek(self, frames: int) -> None:
        self._position = frames

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """The next `frames` samples, fewer at the end of the row: (T, 1), full scale 1.

        Raises:
            ValueError: the reader is closed.
        """
        if self._pack is None:
            raise ValueError("expected an open clip, found a closed one; open it again")
        row = self._pack.clips[self._index, self._position : self._position + frames]  # (T,)
        self._position += len(row)
        samples = row[:, None].astype(dtype)
        samples /= PCM_FULL_SCALE
        return samples


class ZipPack:
    """An uncompressed zip, read by byte offsets; its directory, which may have millions of entries, is never parsed."""

    def __init__(self, pack: str) -> None:
        self._file = -1  # for __del__, if the next line raises
        self._file = os.open(pack, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self._file).st_size

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    def clip(self, path: str, offset: int, length: int) -> io.BytesIO:
        """The bytes of a member.

        Raises:
            AudioError: the range is empty or not within the file.
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
    """An HDF5 file as packed by PaSST and MaskSpec, or by PANNs.

    Attributes:
        file: the open `h5py.File`.
        clips: its dataset `mp3` (N,) or `waveform` (N, T).
        sample_rate: of the waveforms, Hz; 0 if the clips are mp3s.
        unnamed: rows of `waveform` whose `audio_name` is empty.

    Raises:
        AudioError: the file cannot be opened, or has neither dataset.
    """

    def __init__(self, pack: str) -> None:
        try:
            import h5py
        except ImportError as error:
            raise AudioError(
                f"{pack}: expected h5py, which reads HDF5 files, found none; pip install 'maskspec-fairseq[hdf5]'"
            ) from error
        try:
            # without locks, which some network file systems lack; the file is only read
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
        """Whether a row has neither name nor sound: PANNs leaves a row like that for a file it did not find."""
        return index in self.unnamed and not self.clips[index].any()

    def clip(self, path: str, index: int) -> Union[io.BytesIO, PcmReader]:
        """The bytes of an mp3, or a reader of a waveform.

        Raises:
            AudioError: there is no clip at this index, or it cannot be read.
        """
        if index >= len(self.clips):
            raise AudioError(f"{path}: expected an index below {len(self.clips)}, found {index}; {BUILD_AGAIN}")
        try:
            if self.sample_rate:
                if self.is_missing(index):
                    raise AudioError(
                        f"{path}: expected a clip, found a row of zeros without a name, which stands for a file that "
                        f"was missing when the pack was made; {BUILD_AGAIN}, which leaves it out"
                    )
                return PcmReader(self, index)
            data = self.clips[index].tobytes()
        except OSError as error:
            raise AudioError(f"{path}: expected a row that can be read, found: {error}; {GET_AGAIN}") from error
        if not data:
            raise AudioError(f"{path}: expected the bytes of an mp3, found an empty row; {BUILD_AGAIN}")
        return io.BytesIO(data)


@functools.lru_cache(maxsize=OPEN_PACKS)
def _opened(process: int, pack: str) -> Union[ZipPack, Hdf5Pack]:
    mode = os.stat(pack).st_mode
    if not stat.S_ISREG(mode):  # opening a pipe would block until its other end is opened
        raise OSError("a directory" if stat.S_ISDIR(mode) else "a pipe or a device")
    return Hdf5Pack(pack) if pack.lower().endswith(HDF5_EXTENSIONS) else ZipPack(pack)


# A forked process closes the packs of its parent and opens its own. The process id in the cache's key would be enough
# for zips, but HDF5 returns the same descriptor again for a file that is already open.
os.register_at_fork(after_in_child=_opened.cache_clear)


def open_pack(pack: str) -> Union[ZipPack, Hdf5Pack]:
    """The pack at a path, opened once per process and kept open while it is among the most recently used ones.

    Raises:
        AudioError: there is no such file, or see `Hdf5Pack`.
    """
    try:
        return _opened(os.getpid(), pack)
    except (OSError, ValueError) as error:
        raise AudioError(
            f"{pack}: expected a pack of clips, found: {error}; correct line 1 of the manifest if it has moved"
        ) from error


def open_clip(path: str, pack: str, numbers: tuple[int, ...]) -> Union[io.BytesIO, PcmReader]:
    """What a path into a pack points to: the bytes of an audio file, or a reader of a waveform.

    Args:
        path: the whole path, for messages.
        pack: the file, see `split_path`.
        numbers: the place in it, see `split_path`.

    Raises:
        AudioError: there is no such pack, or no such clip in it.
    """
    return open_pack(pack).clip(path, *numbers)
