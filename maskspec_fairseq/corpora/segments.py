"""Labels in time, as tables (`file,start,end,label`, or DESED's) or as Audacity's label files: train and valid by file.

Without --events each labelled part is a clip; with it clips are whole files, or pieces of one length, with what sounds
in them and when.
"""

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Optional

from maskspec_fairseq.audio.pieces import Piece, split_piece
from maskspec_fairseq.corpora import held_out, pieces
from maskspec_fairseq.corpora.builder import Clip, Corpus, Header, find_audio, read_headers
from maskspec_fairseq.corpora.class_names import normal_form, vocabulary_of
from maskspec_fairseq.corpora.csv_rows import CURE, Files, read_table
from maskspec_fairseq.corpora.pieces import Cutting, cut
from maskspec_fairseq.corpora.published_lists import check_file, reading
from maskspec_fairseq.corpora.subset_names import split_subset
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.events import DESED_COLUMNS, Event
from maskspec_fairseq.data_dir.labels import ClipLabels, Label

COLUMNS = ["file", "start", "end", "label"]


class Segment(NamedTuple):
    """A labelled part of a file.

    Attributes:
        where: the row, for messages.
        file: relative to the directory of the audio.
        start, end: s, as they are written; empty for a label whose times are unknown.
        label: name of the class; empty, as start and end, for a file in which nothing is labelled.
    """

    where: str
    file: str
    start: str
    end: str
    label: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "labels",
        nargs="+",
        metavar="[SUBSET=]LABELS",
        help="table with the header file,start,end,label or filename,onset,offset,event_label, in s, between tabs if "
        "it ends in .tsv; or a directory of Audacity's label files, each called as its audio file and ending in .txt. "
        "Without SUBSET= a part of the files is held out",
    )
    parser.add_argument("--audio-dir", type=Path, required=True, metavar="DIR", help="where the audio files are")
    parser.add_argument(
        "--events",
        action="store_true",
        help="keep the times, for model.head=frames: a clip is a file, or a piece of one, with its events",
    )
    held_out.add_arguments(parser)
    pieces.add_arguments(parser)


def read_segments(table: Path, files: Files, events: bool) -> Iterator[Segment]:
    """The rows of a table with a header.

    Args:
        table: with the columns `COLUMNS` or `DESED_COLUMNS`.
        files: of audio.
        events: see `read_audacity`; has no effect here.

    Raises:
        ManifestError: see `read_table`; or a row names no file, or may mean several.
    """
    check_file(table, "name a table")
    with reading(table, CURE), open(table, encoding="utf-8-sig", newline="") as stream:
        columns = DESED_COLUMNS if DESED_COLUMNS[-1] in stream.readline() else COLUMNS
    for row in read_table(table, columns):
        file, *others = (row.cells[column] for column in columns)
        found = files.find(file)
        if len(found) != 1:
            raise ManifestError(f"{row.where}: expected the path of an audio file, found {file!r} of {found}; {CURE}")
        yield Segment(row.where, found[0], *others)


def read_audacity(directory: Path, files: Files, events: bool) -> Iterator[Segment]:
    """The rows of all label files below a directory: `start<TAB>end<TAB>label`, and lines of frequencies between them.

    Args:
        files: of audio, one of which has the path of the label file but for the extension.
        events: whether an empty label file is that of a file in which nothing is labelled; else it is skipped.

    Raises:
        ManifestError: there are no label files, none or several audio files belong to one, a row has more or fewer
            columns, or a file is not UTF-8.
    """
    tables = sorted(directory.rglob("*.txt"))
    if not tables:
        raise ManifestError(f"expected label files (.txt) below {directory}, found none; export them from Audacity")
    empty = [table for table in tables if not table.read_bytes().strip()]
    if empty and not events:
        print(f"note: {len(empty)} label files are empty, {empty[0]} first; nothing of their audio is listed")
    for table in tables:
        stem = str(table.relative_to(directory).with_suffix(""))
        found = files.find(stem)
        if len(found) != 1:
            raise ManifestError(f"{table}: expected one audio file called {stem}, found {found}; rename them")
        if events and table in empty:
            yield Segment(str(table), found[0], "", "", "")
        with reading(table, CURE):
            text = table.read_text(encoding="utf-8-sig")
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip() or line.startswith("\\"):  # frequencies of the label before
                continue
            where, cells = f"{table}, line {number}", line.split("\t")
            if len(cells) != 3:
                raise ManifestError(f"{where}: expected start, end and label between tabs, found {line!r}; {CURE}")
            yield Segment(where, found[0], *(cell.strip() for cell in cells))


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
    """Make the clips, and hold files out unless the arguments name the subsets.

    Without --events there is a clip for each labelled part, with all labels that have its start and end.

    Raises:
        ManifestError: a row does not fit its file, a file is in two subsets, there is nothing to hold out, or see the
            readers above.
        ValueError: --segment-sec or --segment-hop without --events, or see `cutting_of`.
    """
    if not args.events and (args.segment_sec is not None or args.segment_hop is not None):
        raise ValueError(
            "expected --segment-sec and --segment-hop with --events, found them alone; without it each labelled part "
            "is a clip, so leave them out"
        )
    files = Files(find_audio(args.audio_dir))
    segments: list[Segment] = []
    subset_of: dict[str, str] = {}
    for argument in args.labels:
        subset, name = split_subset(argument, "train=train.csv")
        labels = Path(name)
        read = list((read_audacity if labels.is_dir() else read_segments)(labels, files, args.events))
        segments += read
        for segment in read:
            if subset_of.setdefault(segment.file, subset) != subset:
                raise ManifestError(
                    f"{segment.where}: expected each file in one subset, found {segment.file!r} in "
                    f"{subset_of[segment.file]!r} and {subset!r}; {CURE}, or write SUBSET= before all tables or none"
                )
    classes: dict[str, list[str]] = defaultdict(list)  # of each file
    for segment in segments:
        nothing = args.events and not (segment.start or segment.end or segment.label)
        if not nothing and not normal_form(segment.label).strip():
            raise ManifestError(f"{segment.where}: expected a label, found {segment.label!r}; {CURE}")
        classes[segment.file] += [] if nothing else [normal_form(segment.label)]
    headers = dict(zip(classes, read_headers(str(args.audio_dir), list(classes), 0, args.min_rate, args.workers)))
    for segment in segments:
        if headers[segment.file].reason:
            raise ManifestError(
                f"{segment.where}: expected audio, found {segment.file!r}, {headers[segment.file].reason}; {CURE}"
            )
    vocabulary = vocabulary_of(name for names in classes.values() for name in names)
    if args.events:
        clips = list(clips_with_events(segments, headers, vocabulary, pieces.cutting_of(args)))
    else:
        clips = list(labelled_parts(segments, headers, vocabulary))
    named = sorted(set(subset_of.values()))
    if "" in named and len(named) > 1:
        raise ManifestError(f"expected SUBSET= before all tables or none, found {args.labels}; add it")
    subsets: dict[str, list[Clip]] = {name: [] for name in named} if named != [""] else {"train": [], "valid": []}
    if named == [""]:
        of_files = {file: list(dict.fromkeys(names)) for file, names in classes.items()}
        valid = held_out.hold_out(of_files, args.valid_fraction, args.group_by, args.audio_dir)
        subset_of = {file: "valid" if file in valid else "train" for file in classes}
    for file, clip in clips:
        subsets[subset_of[file]].append(clip)
    return Corpus(args.audio_dir, subsets, list(vocabulary.values()))


def labelled_parts(
    segments: list[Segment], headers: dict[str, Header], vocabulary: dict[str, Label]
) -> Iterator[tuple[str, Clip]]:
    """File and clip of each labelled part, with all labels that have its start and end.

    Raises:
        ManifestError: see `frames_of`.
    """
    parts: dict[Piece, list[str]] = {}
    for segment in segments:
        header = headers[segment.file]
        key = vocabulary[normal_form(segment.label)].key
        keys = parts.setdefault(Piece(segment.file, *frames_of(segment, header.frames, header.rate)), [])
        if key not in keys:
            keys.append(key)
    for piece in sorted(parts):
        yield piece.path, Clip(str(piece), ClipLabels(parts[piece]))


def clips_with_events(
    segments: list[Segment], headers: dict[str, Header], vocabulary: dict[str, Label], cutting: Optional[Cutting]
) -> Iterator[tuple[str, Clip]]:
    """File and clip of each file, or of each piece of a file that is cut, with the events in it.

    An event that begins or ends outside a piece is cut off there.

    Raises:
        ManifestError: see `frames_of`; or a label without times of a file that is cut, which may be in any piece.
    """
    spans: dict[str, list[Event]] = {segment.file: [] for segment in segments}
    untimed: dict[str, list[tuple[Segment, str]]] = defaultdict(list)
    for segment in segments:
        if not segment.label:
            continue
        key = vocabulary[normal_form(segment.label)].key
        if not segment.start and not segment.end:
            untimed[segment.file].append((segment, key))
            continue
        first, length = frames_of(segment, headers[segment.file].frames, headers[segment.file].rate)
        spans[segment.file].append(Event(first, first + length, key))
    for file in sorted(spans):
        frames, rate = headers[file].frames, headers[file].rate
        parts = [(file, frames)] if cutting is None else cut(file, frames, rate, cutting)
        if len(parts) > 1 and untimed[file]:
            raise ManifestError(
                f"{untimed[file][0][0].where}: expected a start and an end in {file!r}, which is cut into pieces, "
                f"found none; {CURE}, or leave files whole by --segment-sec 0"
            )
        for path, length in parts:
            piece = split_piece(path) if path != file else None
            begin = 0 if piece is None else piece.first
            events = [
                Event(max(start - begin, 0), min(end - begin, length), key)
                for start, end, key in sorted(set(spans[file]))
                if start < begin + length and end > begin
            ]
            keys = dict.fromkeys([*(event.key for event in events), *(key for _, key in untimed[file])])
            yield file, Clip(path, ClipLabels(list(keys)), events=events)
