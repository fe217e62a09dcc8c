"""HDF5 files of clips. One has one of two datasets:

    `mp3`       (N,) rows of uint8, each the bytes of a whole file. Source: PaSST's and MaskSpec's packs
    `waveform`  int16 (N, T), with the attribute `sample_rate`. Source: PANNs, utils/dataset.py and utilities.py

Shapes: N clips in a pack, T samples.
"""

import io
from numbers import Integral
from typing import Any, Optional, Union

import numpy as np

from maskspec_fairseq.audio import MIN_RATE, AudioError

PCM_FULL_SCALE = 32767  # PANNs multiplies by it
MAX_RATE = 1_000_000  # Hz
FAILURES = (OSError, RuntimeError, KeyError, TypeError, ValueError, MemoryError)  # what h5py raises for broken files
MAX_RATIO = 1032  # of deflate, the usual filter: how many times larger than in the file values may be


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
            AudioError: the row cannot be read.
        """
        if self._pack is None:
            raise ValueError("expected an open clip, found a closed one; open it again")
        place = self._index, slice(self._position, self._position + frames)
        row = self._pack.values(self._pack.clips, place)  # (T,)
        self._position += len(row)
        samples = row[:, None].astype(dtype)
        samples /= PCM_FULL_SCALE
        return samples


class Hdf5Pack:
    """An HDF5 file as packed by PaSST and MaskSpec, or by PANNs.

    Attributes:
        clips: its dataset `mp3` (N,) or `waveform` (N, T).
        sample_rate: of the waveforms, Hz; 0 if the clips are mp3s.
        unnamed: rows of `waveform` whose `audio_name` is empty.

    Raises:
        AudioError: the file cannot be opened, has neither dataset, or a dataset is not in the file itself, has another
            shape or more values than the file can hold.
    """

    def __init__(self, pack: str) -> None:
        try:
            import h5py
        except ImportError as error:
            raise AudioError(
                f"{pack}: expected h5py, which reads HDF5 files, found none; pip install 'maskspec-fairseq[hdf5]'"
            ) from error
        self._path = pack
        try:
            # without locks, which some network file systems lack; the file is only read
            self._file = h5py.File(pack, "r", locking=False)
            self._find_clips()
        except FAILURES as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> AudioError:
        return AudioError(f"{self._path}: expected an HDF5 file that can be read, found: {error}; get the pack again")

    def values(self, dataset: Any, place: Any) -> np.ndarray:
        """Values of a dataset.

        Raises:
            AudioError: they cannot be read.
        """
        try:
            return dataset[place]
        except FAILURES as error:
            raise self._unreadable(error) from error

    def _find_clips(self) -> None:
        import h5py

        pack, attributes = self._path, self._file.attrs
        self.clips: Any = self.dataset("mp3")
        self.sample_rate = 0
        self.unnamed: frozenset[int] = frozenset()
        if self.clips is not None and self.clips.ndim == 1 and h5py.check_vlen_dtype(self.clips.dtype) == np.uint8:
            return
        waveforms, rate = self.dataset("waveform"), attributes.get("sample_rate")
        usable = waveforms is not None and waveforms.ndim == 2 and waveforms.dtype == np.int16
        if self.clips is not None or not usable or not isinstance(rate, Integral):
            found = [f"{name} ({getattr(self.dataset(name), 'dtype', 'a group')})" for name in self._file]
            raise AudioError(
                f"{pack}: expected a dataset mp3 of rows of uint8 (PaSST, MaskSpec), or waveform of int16 and an "
                f"attribute sample_rate (PANNs), found {', '.join(found) or 'no dataset'} and the attributes "
                f"{sorted(attributes)}; name another file"
            )
        self.clips, self.sample_rate = waveforms, int(rate)
        if not MIN_RATE <= self.sample_rate <= MAX_RATE:
            raise AudioError(
                f"{pack}: expected a sample_rate from {MIN_RATE} to {MAX_RATE} Hz, found {rate}; get the pack again"
            )
        names = self.dataset("audio_name")
        if names is None:
            return
        if names.shape != (len(self.clips),):
            raise AudioError(
                f"{pack}: expected an audio_name for each of the {len(self.clips)} clips, found {names.shape}; "
                "get the pack again"
            )
        self.unnamed = frozenset(np.flatnonzero([not name for name in self.values(names, ...)]).tolist())

    def dataset(self, name: str) -> Optional[Any]:
        """A dataset of the file, checked before any of its values is read; None if there is none of this name.

        Raises:
            AudioError: it is a link, its values are in other files or are more than the file can hold, or it cannot be
                read.
        """
        try:
            return self._dataset(name)
        except FAILURES as error:
            raise self._unreadable(error) from error

    def _dataset(self, name: str) -> Optional[Any]:
        import h5py

        link = self._file.get(name, getlink=True)
        if link is None:
            return None
        found = ""
        if not isinstance(link, h5py.HardLink):  # following it would read from elsewhere
            found = f"a link to {getattr(link, 'filename', '')}{link.path}"
        else:
            dataset = self._file[name]
            if not isinstance(dataset, h5py.Dataset):
                return None
            if dataset.external or dataset.is_virtual:
                found = "one whose values are in other files"
            elif dataset.nbytes > MAX_RATIO * dataset.id.get_storage_size():
                found = f"{dataset.nbytes} bytes of values in {dataset.id.get_storage_size()} bytes of the file"
        if found:
            raise AudioError(
                f"{self._path}: expected the values of {name} in the file itself, found {found}; get the pack "
                "again, or copy all of its values into one file"
            )
        return dataset

    def is_missing(self, index: int) -> bool:
        """Whether a row has neither name nor sound: PANNs leaves a row like that for a file it did not find."""
        return index in self.unnamed and not self.values(self.clips, index).any()

    def clip(self, path: str, index: int) -> Union[io.BytesIO, PcmReader]:
        """The bytes of an mp3, or a reader of a waveform.

        Raises:
            AudioError: there is no clip at this index, or it cannot be read.
        """
        if index >= len(self.clips):
            raise AudioError(
                f"{path}: expected an index below {len(self.clips)}, found {index}; build the manifest again"
            )
        if self.sample_rate:
            if self.is_missing(index):
                raise AudioError(
                    f"{path}: expected a clip, found a row of zeros without a name, which stands for a file that was "
                    "missing when the pack was made; build the manifest again, which leaves it out"
                )
            return PcmReader(self, index)
        data = self.values(self.clips, index).tobytes()
        if not data:
            raise AudioError(f"{path}: expected the bytes of an mp3, found an empty row; build the manifest again")
        return io.BytesIO(data)
