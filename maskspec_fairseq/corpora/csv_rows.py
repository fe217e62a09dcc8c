"""A table of the user's: its rows by the names of its columns, and the files that they name."""

import csv
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from maskspec_fairseq.audio.formats import EXTENSIONS, UNDECODABLE
from maskspec_fairseq.corpora.class_names import normal_form
from maskspec_fairseq.corpora.published_lists import check_file, reading
from maskspec_fairseq.data_dir import ManifestError

CURE = "correct the table"


class Row(NamedTuple):
    """A line of a table. `where` is its file and line, for messages."""

    where: str
    cells: dict[str, str]


def read_table(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """The rows of a table; empty lines are skipped.

    Raises:
        ManifestError: there is no such file, it is not CSV, it lacks a column or has it twice, or a row has another
            number of cells than the header.
    """
    check_file(path, "name a table")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with reading(path, CURE), open(path, encoding="utf-8-sig", newline="") as stream:
        rows = csv.reader(stream, delimiter=delimiter, strict=True)
        header = [name.strip() for name in next(rows, [])]
        for column in columns:
            if header.count(column) != 1:
                raise ManifestError(
                    f"{path}, line 1: expected one column {column!r}, found the columns {header}; {CURE}"
                )
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if len(row) not in (0, len(header)):
                raise ManifestError(f"{where}: expected {len(header)} cells, as in the header, found {row}; {CURE}")
            if row:
                yield Row(where, {name: cell.strip() for name, cell in zip(header, row)})


class Files:
    """Finds files by what a table calls them."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.by_path: dict[str, list[str]] = defaultdict(list)
        self.by_name: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            self.by_path[_without_extension(path)].append(path)
            self.by_name[_without_extension(os.path.basename(path))].append(path)

    def find(self, cell: str) -> list[str]:
        """The files that a cell may mean; of several with the same name those with its extension.

        A cell without an extension may look as if it had one: `take.au`, of `take.au.wav`.
        """
        path = os.path.normpath(cell)
        found = self._with_stem(_without_extension(path))
        exact = [path for path in found if os.path.basename(path) == os.path.basename(cell)]
        return exact or self._with_stem(normal_form(path)) or found

    def _with_stem(self, stem: str) -> list[str]:
        return self.by_path.get(stem) or self.by_name.get(stem, [])


def _without_extension(path: str) -> str:
    root, extension = os.path.splitext(normal_form(path))
    return root if extension.lower() in (*EXTENSIONS, *UNDECODABLE) else root + extension
