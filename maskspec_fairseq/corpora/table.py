"""Audio that a table with a header describes: a file per row, its classes, and its subset or fold.

A row names its file by the path below --audio-dir, or by the name alone where only one file has it; either may lack the
extension. Without --split-column and --fold-column train and valid are made as `folder` makes them.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from maskspec_fairseq.corpora import held_out
from maskspec_fairseq.corpora.builder import Clip, Corpus, find_audio
from maskspec_fairseq.corpora.class_names import normal_form, vocabulary_of
from maskspec_fairseq.corpora.csv_rows import CURE, Files, Row, read_table
from maskspec_fairseq.corpora.subset_names import SUBSETS, split_subset, subset_of, subset_order
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import ClipLabels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "tables",
        nargs="+",
        metavar="[SUBSET=]TABLE",
        help="CSV, or .tsv with tabs; all of it is SUBSET if that is given",
    )
    parser.add_argument("--audio-dir", type=Path, required=True, metavar="DIR", help="the files are below it")
    parser.add_argument("--path-column", required=True, metavar="NAME", help="the column of the files")
    parser.add_argument("--label-column", required=True, metavar="NAME", help="the column of the classes")
    parser.add_argument(
        "--separator", metavar="TEXT", help="between the classes of a cell (default: a cell is one class)"
    )
    splits = parser.add_mutually_exclusive_group()
    splits.add_argument(
        "--split-column", metavar="NAME", help=f"the column of the subsets: {', '.join(SUBSETS)}, fold1"
    )
    splits.add_argument("--fold-column", metavar="NAME", help="the column of the folds: 1, 2, ...")
    held_out.add_arguments(parser)


def classes_of(row: Row, column: str, separator: Optional[str]) -> list[str]:
    """The classes of a row.

    Raises:
        ManifestError: one is empty.
    """
    cell = row.cells[column]
    names = [normal_form(name.strip()) for name in (cell.split(separator) if separator else [cell])]
    if "" in names:
        raise ManifestError(
            f"{row.where}, column {column!r}: expected a class, found {cell!r}; write one, or remove the row"
        )
    return list(dict.fromkeys(names))


def subset_of_row(row: Row, args: argparse.Namespace) -> str:
    """The subset of a row, train if the table does not say.

    Raises:
        ManifestError: the cell is not the name of a subset or the number of a fold.
    """
    column = args.split_column or args.fold_column
    if not column:
        return "train"
    cell = row.cells[column]
    subset = subset_of(f"fold{cell}" if args.fold_column and cell.isdigit() else cell)
    if subset is None or bool(args.fold_column) > subset.startswith("fold"):
        expected = "the number of a fold" if args.fold_column else f"one of {', '.join(SUBSETS)}, fold1, fold2, ..."
        raise ManifestError(f"{row.where}, column {column!r}: expected {expected}, found {cell!r}; {CURE}")
    return subset


def read_rows(args: argparse.Namespace) -> Iterator[tuple[str, Row]]:
    """Subset and row of all tables.

    Raises:
        ManifestError: what is before a `=` is not a subset; or see `read_table` and `subset_of_row`.
    """
    columns = [args.path_column, args.label_column]
    for text in args.tables:
        name, path = split_subset(text, "train=train.csv")
        if not name:
            split = [name for name in (args.split_column, args.fold_column) if name]
            for row in read_table(Path(text), [*columns, *split]):
                yield subset_of_row(row, args), row
            continue
        subset = subset_of(name)
        if subset is None:
            raise ManifestError(f"{text}: expected one of {', '.join(SUBSETS)}, fold1 before the `=`, found {name!r}")
        for row in read_table(Path(path), columns):
            yield subset, row


def collect(args: argparse.Namespace) -> Corpus:
    """Match the rows with the files. A row whose file is not there is a clip that is rejected later.

    Raises:
        ManifestError: see `read_table`, `classes_of` and `subset_of_row`; a row may mean several files, a file is
            in two rows, or no row has a file.
    """
    files = Files(find_audio(args.audio_dir))
    listed: dict[str, str] = {}  # path -> where its row is
    classes: dict[str, list[str]] = {}
    subsets: dict[str, list[str]] = defaultdict(list)
    missing: list[str] = []
    for subset, row in read_rows(args):
        cell = row.cells[args.path_column]
        where = f"{row.where}, column {args.path_column!r}"
        found = files.find(cell)
        if len(found) > 1:
            raise ManifestError(f"{where}: expected the name of one file, found {cell!r} of {found}; write its path")
        path = found[0] if found else cell
        if path in listed:
            raise ManifestError(
                f"{where}: expected every file once, found {cell!r} again after {listed[path]}; remove one "
                "of the two, or write several classes into one cell and name what is between them by --separator"
            )
        if not found:
            missing.append(f"{where}: {cell!r}")
        listed[path] = row.where
        classes[path] = classes_of(row, args.label_column, args.separator)
        subsets[subset].append(path)
    if len(missing) == len(listed):
        raise ManifestError(
            f"expected rows of files below {args.audio_dir}, found none in {len(listed)} rows"
            + (f" ({missing[0]})" if missing else "")
            + "; check --audio-dir and --path-column"
        )
    if missing:
        print(f"note: {len(missing)} of {len(listed)} rows have no file below {args.audio_dir}, {missing[0]} first")
    others = sum(map(len, files.by_path.values())) - (len(listed) - len(missing))
    if others:
        print(f"note: {others} files below {args.audio_dir} are in no row and are left out")
    vocabulary = vocabulary_of(name for names in classes.values() for name in names)
    keys = {path: [vocabulary[name].key for name in names] for path, names in classes.items()}
    choose = held_out.choose_valid(subsets, keys, args)
    clips = {
        name: [Clip(path, ClipLabels(keys[path])) for path in sorted(subsets[name])]
        for name in sorted(subsets, key=subset_order)
    }
    return Corpus(args.audio_dir, clips, list(vocabulary.values()), hold_out=choose)
