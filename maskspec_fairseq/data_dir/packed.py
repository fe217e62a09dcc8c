"""Sequences that forked processes share without a copy per process."""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Union

import numpy as np


class _Packed(Sequence):
    """Items of any length, one after the other in one buffer.

    Reading a Python object updates its reference count, so copy-on-write would copy a list of two million paths into
    every forked worker; one buffer stays shared.
    """

    def __init__(self, buffer: Union[bytearray, array], items: Iterable) -> None:
        self._buffer = buffer
        self._ends = array("q", [0])
        for item in items:
            self.append(item)

    def append(self, item: Any) -> None:
        self._buffer.extend(item)
        self._ends.append(len(self._buffer))

    def extend(self, other: "_Packed") -> None:
        shift = len(self._buffer)
        self._buffer.extend(other._buffer)
        self._ends.extend(shift + end for end in other._ends[1:])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> Any:  # type: ignore[override]  # no slices: nothing needs them
        number = range(len(self))[index]
        return self._buffer[self._ends[number] : self._ends[number + 1]]


class PackedStrings(_Packed):
    """A sequence of strings, packed."""

    def __init__(self, strings: Iterable[str] = ()) -> None:
        super().__init__(bytearray(), strings)

    def append(self, string: str) -> None:
        super().append(string.encode())

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # no slices
        return super().__getitem__(index).decode()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (PackedStrings, list, tuple)):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other))


class PackedRows(_Packed):
    """A sequence of rows of integers, packed. An item is an array (length of the row,), a copy.

    Args:
        typecode: of `array`: "i" for int32, "q" for int64.
    """

    def __init__(self, rows: Iterable[Iterable[int]] = (), typecode: str = "i") -> None:
        super().__init__(array(typecode), rows)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]  # no slices
        return np.asarray(super().__getitem__(index))

    @property
    def values(self) -> np.ndarray:
        """The values of all rows, one after the other, (sum of lengths,)."""
        return np.asarray(self._buffer)

    @property
    def lengths(self) -> np.ndarray:
        """The number of values in each row, int64 (N,)."""
        return np.diff(self._ends)
