"""Parquet files of Hugging Face's datasets, read in place: a row is a clip, a column of structs has the files.

--labels-from is the column of labels: texts, whole numbers, `ClassLabel`s (whose names are in the files), or lists of
these.
"""

import argparse
import json
import os
from collections.abc import Sequence
from typing import Any, Optional

from maskspec_fairseq.audio.packs import PARQUET_EXTENSIONS, open_pack
from maskspec_fairseq.audio.parquet_pack import ParquetPack
from maskspec_fairseq.corpora.builder import Clip, Corpus
from maskspec_fairseq.corpora.shards import (
    add_shard_arguments,
    as_labels,
    make_corpus,
    read_arguments,
    sorted_names,
)
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import ClipLabels

EXAMPLE = "train=train-000.parquet"
NO_LABEL = -1  # of a ClassLabel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_shard_arguments(parser, "'train=data/train-*.parquet' 'test=data/test-*.parquet'")
    parser.add_argument("--labels-from", metavar="COLUMN", help="such as label (default: no labels)")


def class_names(feature: Any) -> Optional[list[str]]:
    """The names of a `ClassLabel`, or of a list of them, as Hugging Face's metadata of a column describe it."""
    if isinstance(feature, list) and len(feature) == 1:  # lists as `datasets` wrote them at first
        return class_names(feature[0])
    if not isinstance(feature, dict):
        return None
    names = feature.get("names")
    if feature.get("_type") == "ClassLabel" and isinstance(names, list):
        return [str(name) for name in names]
    return class_names(feature.get("feature"))


def read_class_names(path: str, pack: ParquetPack, column: str) -> Optional[list[str]]:
    """The names of the classes of a column, None if the file does not have them.

    Raises:
        ManifestError: the metadata cannot be read.
    """
    metadata = (pack.file.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
    try:
        return class_names(json.loads(metadata).get("info", {}).get("features", {}).get(column))
    except (ValueError, AttributeError, RecursionError) as error:
        raise ManifestError(
            f"{path}: expected metadata of `datasets`, found {metadata[:80]!r}; get it again"
        ) from error


def named(value: Any, names: Sequence[str], where: str) -> Any:
    """A number of a `ClassLabel`, or a list of them, as names; None for a clip without a label.

    Raises:
        ManifestError: there is no such class.
    """
    if isinstance(value, list):
        return [named(number, names, where) for number in value]
    if value is None or value == NO_LABEL:
        return None
    if not isinstance(value, int) or not 0 <= value < len(names):
        raise ManifestError(f"{where}: expected a number of a class below {len(names)}, found {value!r}; get it again")
    return names[value]


def open_parquet(path: str) -> ParquetPack:
    """The pack at a path that ends in .parquet."""
    pack = open_pack(path)
    assert isinstance(pack, ParquetPack)
    return pack


def read_column(path: str, pack: ParquetPack, column: str) -> list[Any]:
    """A value per clip.

    Raises:
        ManifestError: there is no such column, or it has another number of values.
        AudioError: it cannot be read.
    """
    if column not in pack.file.schema_arrow.names:
        raise ManifestError(
            f"{path}: expected a column {column}, found {', '.join(pack.file.schema_arrow.names)}; name another one"
        )
    values = pack.read(column)
    if len(values) != pack.num_clips:
        raise ManifestError(f"{path}: expected {pack.num_clips} values of {column}, found {len(values)}; get it again")
    return values


def collect(args: argparse.Namespace) -> Corpus:
    """Read the labels of the files.

    Raises:
        ManifestError: files differ in their classes, or see `read_arguments`, `read_column`, `as_labels` and
            `make_corpus`.
        AudioError: a file cannot be read, see `audio.parquet_pack.ParquetPack`.
    """
    files = read_arguments(args.files, PARQUET_EXTENSIONS, EXAMPLE)
    root = os.path.commonpath([os.path.dirname(path) for _, path in files])
    subsets: dict[str, list[Clip]] = {}
    found: set[str] = set()
    names: Optional[list[str]] = None
    for number, (subset, path) in enumerate(files):
        pack = open_parquet(path)
        name = os.path.relpath(path, root)
        labels: list[Optional[ClipLabels]] = [None] * pack.num_clips
        if args.labels_from:
            own = read_class_names(path, pack, args.labels_from)
            if number and own != names:
                raise ManifestError(f"{path}: expected the classes of {files[0][1]}, found others; build them apart")
            names = own
            for row, value in enumerate(read_column(path, pack, args.labels_from)):
                where = f"{path}, row {row}"
                present = as_labels(value if names is None else named(value, names, where), where)
                labels[row] = ClipLabels(present)
                found.update(present)
        subsets.setdefault(subset, []).extend(Clip(f"{name}:{row}", clip) for row, clip in enumerate(labels))
        print(f"{path}: {pack.num_clips} clips")
    classes = (names or sorted_names(found)) if args.labels_from else None
    return make_corpus(root, subsets, classes, args)
