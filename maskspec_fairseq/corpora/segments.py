"""Labels in time, as a table (`file,start,end,label`) or as Audacity's label files: train and valid, by file."""

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from maskspec_fairseq.audio.pieces import Piece
from maskspec_fairseq.corpora import held_out
from maskspec_fairseq.corpora.builder import Clip, Corpus, find_audio, read_headers
from maskspec_fairseq.corpora.class_names import normal_form, vocabulary_of
from maskspec_fairseq.corpora.csv_rows import CURE, Files, read_table
from maskspec_fairseq.corpora.published_lists import reading
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import ClipLabels

COLUMNS = ["file", "start", "end", "label"]


class Segment(NamedTuple):
    """A labelled part of a file.

    Attributes:
        where: the row, for messages.
        file: relative to the directory of the audio.
        start, end: s, as they are written.
        label: name of the class.
    """

    where: str
    file: str
    start: str
    end: str
    label: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "labels",
        type=Path,
        metavar="LABELS",
        help="CSV with the header file,start,end,label, in s; or a directory of Audacity's label files, each called as "
        "its audio file and ending in .txt",
    )
    parser.add_argument("--audio-dir", type=Path, required=True, metavar="DIR", help="where the audio files are")
    held_out.add_arguments(parser)


def read_segments(table: Path, files: Files) -> Iterator[Segment]:
    """The rows of a table with a header.

    Raises:
        ManifestError: see `read_table`; or a row names no file, or may mean several.
    """
    for row in read_table(table, COLUMNS):
        file, *others = (row.cells[column] for column in COLUMNS)
        found = files.find(file)
        if len(found) != 1:
            raise ManifestError(f"{row.where}: expected the path of an audio file, found {file!r} of {found}; {CURE}")
        yield Segment(row.where, found[0], *others)


def read_audacity(directory: Path, files: Files) -> Iterator[Segment]:
    """The rows of all label files below a directory: `start<TAB>end<TAB>label`, and lines of frequencies between them.

    Args:
        files: of audio, one of which has the path of the label file but for the extension.

    Raises:
        ManifestError: there are no label files, none or several audio files belong to one, a row has more or fewer
            columns, or a file is not UTF-8.
    """
    tables = sorted(directory.rglob("*.txt"))
    if not tables:
        raise ManifestError(f"expected label files (.txt) below {directory}, found none; export them from Audacity")
    empty = [table for table in tables if not table.read_bytes().strip()]
    if empty:
        print(f"note: {len(empty)} label files are empty, {empty[0]} first; nothing of their audio is listed")
    for table in tables:
        stem = str(table.relative_to(directory).with_suffix(""))
        found = files.find(stem)
        if len(found) != 1:
            raise ManifestError(f"{table}: expected one audio file called {stem}, found {found}; rename them")
        with reading(table, CURE):
            text = table.read_text(encoding="utf-8-sig")
        for number, line in enumerate(text.split("\n"), start=1):
            if not line or line.startswith("\\"):  # frequencies of the label before
                continue
            where, cells = f"{table}, line {number}", line.split("\t")
            if len(cells) != 3:
                raise ManifestError(f"{where}: expected start, end and label between tabs, found {line!r}; {CURE}")
            yield Segment(where, found[0], *cells)


def frames_of(segment: Segment, frames: int, rate: int) -> tuple[int, int]:
    """The first frame of a segment and how many it has.

    Args:
        frames: of the file.
        rate: Hz.

    Raises:
        ManifestError: start and end are not seconds within the file, in this order.
    """
    try:
        start, end = float(segment.start), float(segment.end)
    except ValueError:
        start = end = math.nan
    if not 0 <= start < end <= (frames + 1) / rate:  # tools round up
        raise ManifestError(
            f"{segment.where}: expected a start and a later end within the {frames / rate:.3f} s of {segment.file}, "
            f"found {segment.start!r} and {segment.end!r}; {CURE}"
        )
    first = min(round(start * rate), frames - 1)
    return first, max(1, min(round(end * rate), frames) - first)


def collect(args: argparse.Namespace) -> Corpus:
    """Make a clip of each labelled part, with all labels that have its start and end, and hold files out.

    Raises:
        ManifestError: a row does not fit its file, there is nothing to hold out, or see the readers above.
    """
    files = Files(find_audio(args.audio_dir))
    segments = list((read_audacity if args.labels.is_dir() else read_segments)(args.labels, files))
    classes: dict[str, list[str]] = defaultdict(list)  # of each file
    for segment in segments:
        if not normal_form(segment.label).strip():
            raise ManifestError(f"{segment.where}: expected a label, found {segment.label!r}; {CURE}")
        classes[segment.file].append(normal_form(segment.label))
    headers = dict(zip(classes, read_headers(str(args.audio_dir), list(classes), 0, args.min_rate, args.workers)))
    vocabulary = vocabulary_of(name for names in classes.values() for name in names)
    pieces: dict[Piece, list[str]] = {}
    for segment in segments:
        header = headers[segment.file]
        if header.reason:
            raise ManifestError(f"{segment.where}: expected audio, found {segment.file!r}, {header.reason}; {CURE}")
        key = vocabulary[normal_form(segment.label)].key
        keys = pieces.setdefault(Piece(segment.file, *frames_of(segment, header.frames, header.rate)), [])
        if key not in keys:
            keys.append(key)
    valid = held_out.hold_out(classes, args.valid_fraction, args.group_by)
    subsets: dict[str, list[Clip]] = {"train": [], "valid": []}
    for piece in sorted(pieces):
        subsets["valid" if piece.path in valid else "train"].append(Clip(str(piece), ClipLabels(pieces[piece])))
    return Corpus(args.audio_dir, subsets, list(vocabulary.values()))
