"""Parquet files of clips, as Hugging Face's datasets write them: a column of structs with the `bytes` of each file.

Source: huggingface.co/docs/datasets, `Audio`.
"""

import functools
import io
import os
from typing import Any

import numpy as np

from maskspec_fairseq.audio import AudioError

MAX_GROUP = 2**32  # bytes; a row group is read as a whole. `datasets` writes 100 clips per group


class ParquetPack:
    """A Parquet file with a clip per row.

    Attributes:
        file: the open `pyarrow.parquet.ParquetFile`.
        column: the name of the column of audio.
        num_clips: rows.

    Raises:
        AudioError: the file cannot be opened, or has no column of audio or several.
    """

    def __init__(self, pack: str) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise AudioError(
                f"{pack}: expected pyarrow, which reads Parquet files, found none; pip install "
                "'maskspec-fairseq[parquet]'"
            ) from error
        self._failures = (pyarrow.ArrowException, OSError, ValueError, KeyError, MemoryError)
        self._path = pack
        try:
            # without threads for reading ahead, which a forked process would lack
            self.file = pyarrow.parquet.ParquetFile(pack, pre_buffer=False)
            schema = self.file.schema_arrow
            metadata = self.file.metadata
            rows = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
        except self._failures as error:
            raise AudioError(
                f"{pack}: expected a Parquet file that can be read, found: {error}; get it again"
            ) from error
        columns = [
            field.name
            for field in schema
            if pyarrow.types.is_struct(field.type)
            and any(part.name == "bytes" and _is_binary(part.type) for part in field.type)
        ]
        if "audio" in columns:
            columns = ["audio"]
        if len(columns) != 1:
            raise AudioError(
                f"{pack}: expected one column of structs with the field bytes, or one called audio, found "
                f"{', '.join(columns or schema.names) or 'no column'}; write it by `datasets` with an `Audio` column"
            )
        if min(rows, default=0) < 0 or sum(rows) > os.path.getsize(pack):
            raise AudioError(
                f"{pack}: expected a number of clips that a file of {os.path.getsize(pack)} bytes can hold, found "
                f"{sum(rows)}; get it again"
            )
        self.column = columns[0]
        self._ends = np.cumsum(rows, dtype=np.int64)
        self.num_clips = int(sum(rows))

    def read(self, column: str) -> list[Any]:
        """All values of a column other than the audio.

        Raises:
            AudioError: it cannot be read.
        """
        try:
            return self.file.read(columns=[column], use_threads=False)[column].to_pylist()
        except self._failures as error:
            raise AudioError(
                f"{self._path}: expected a column {column} that can be read, found: {error}; get it again"
            ) from error

    def clip(self, path: str, index: int) -> io.BytesIO:
        """The bytes of a clip. The row group that it is in stays in memory until another one is read.

        Raises:
            AudioError: there is no clip at this index, or it cannot be read.
        """
        if index >= self.num_clips:
            raise AudioError(f"{path}: expected a row below {self.num_clips}, found {index}; build the manifest again")
        number = int(np.searchsorted(self._ends, index, side="right"))
        try:
            group = _row_group(self, number)
            data = group[index - int(self._ends[number])]["bytes"].as_py()  # from the end of the group
        except self._failures as error:
            raise AudioError(f"{path}: expected a row that can be read, found: {error}; get the file again") from error
        if not data:
            raise AudioError(
                f"{path}: expected the bytes of a file of audio, found none in this row; embed the files before you "
                "write the Parquet file (`Dataset.push_to_hub` does, `to_parquet` does not)"
            )
        return io.BytesIO(data)

    def read_group(self, number: int) -> Any:
        """The bytes of the clips of a row group."""
        group = self.file.metadata.row_group(number)
        parts = [group.column(n) for n in range(group.num_columns)]
        size = sum(part.total_uncompressed_size for part in parts if part.path_in_schema == f"{self.column}.bytes")
        if size > MAX_GROUP:
            raise ValueError(f"{size} bytes in row group {number}, of which {MAX_GROUP} are read at most")
        return self.file.read_row_group(number, [f"{self.column}.bytes"], use_threads=False)[self.column]


@functools.lru_cache(maxsize=1)  # for all packs together: a group is some hundred MB
def _row_group(pack: ParquetPack, number: int) -> Any:
    return pack.read_group(number)


def _is_binary(kind: Any) -> bool:
    import pyarrow

    return pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)
