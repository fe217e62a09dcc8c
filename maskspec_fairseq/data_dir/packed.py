"""Sequences that processes share after a fork, without a copy for each. No torch and no fairseq here."""

from array import array
from typing import Iterable, Sequence, Union

import numpy as np


class _Packed(Sequence):
    """Items of any length, one after the other in one buffer.

    Two million strings in a list are two million objects, and each counts its readers: a process that only reads them
    after a fork writes to all of their memory, and so gets a copy of it. What is packed stays shared.
    """

    def __init__(self, buffer: Union[bytearray, array], items: Iterable) -> None:
        self._buffer = buffer
        self._ends = array("q", [0])
        for item in items:
            self.append(item)

    def append(self, item) -> None:
        self._buffer.extend(item)
        self._ends.append(len(self._buffer))

    def extend(self, other: "_Packed") -> None:
        shift = len(self._buffer)
        self._buffer.extend(other._buffer)
        self._ends.extend(shift + end for end in other._ends[1:])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int):
        number = range(len(self))[index]
        return self._buffer[self._ends[number] : self._ends[number + 1]]


class PackedStrings(_Packed):
    """A sequence of strings, packed."""

    def __init__(self, strings: Iterable[str] = ()) -> None:
        super().__init__(bytearray(), strings)

    def append(self, string: str) -> None:
        super().append(string.encode())

    def __getitem__(self, index: int) -> str:
        return super().__getitem__(index).decode()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (PackedStrings, list, tuple)):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other))


class PackedRows(_Packed):
    """A sequence of rows of small integers, packed; each is read as int32 (length,)."""

    def __init__(self, rows: Iterable[Iterable[int]] = ()) -> None:
        super().__init__(array("i"), rows)

    def __getitem__(self, index: int) -> np.ndarray:
        return np.asarray(super().__getitem__(index))

    @property
    def values(self) -> np.ndarray:
        """The values of all rows, int32."""
        return np.asarray(self._buffer)

    @property
    def lengths(self) -> np.ndarray:
        """Values in each row, int64 (N,)."""
        return np.diff(self._ends)
