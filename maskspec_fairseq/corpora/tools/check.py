"""Check a data directory: files, lengths, rates, labels, events, and clips that are listed twice."""

import argparse
import filecmp
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

from maskspec_fairseq.argument_types import int_at_least
from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.joined import further_frames
from maskspec_fairseq.audio.packs import real_path, split_path
from maskspec_fairseq.audio.pieces import file_on_disk, split_piece
from maskspec_fairseq.audio.read import open_audio, read_audio
from maskspec_fairseq.corpora.audioset import CLIP_NAME
from maskspec_fairseq.corpora.builder import in_parallel
from maskspec_fairseq.corpora.overlaps import Span, shared_frames
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.events import PackedEvents, events_path, read_events
from maskspec_fairseq.data_dir.labels import LABELS_FILE, Label, PackedLabels, read_labels, read_vocabulary
from maskspec_fairseq.data_dir.manifest import Manifest, list_subsets, read_manifest

MIDS = ("/m/", "/t/", "/g/")  # the keys of AudioSet's classes begin with one of these
SHOWN = 10  # printed errors of a kind, and names in a list
COLUMNS = ("subset", "clips", "hours", "rates", "channels", "shortest", "longest", "classes", "unlabelled")


@dataclass
class Subset:
    """A subset of the data directory.

    Attributes:
        path: of the manifest.
        manifest: its content.
        labels: None if it has none.
        events: None if it has none.
    """

    path: Path
    manifest: Manifest
    labels: Optional[PackedLabels]
    events: Optional[PackedEvents] = None

    def line(self, index: int) -> str:
        """Where a clip is listed, for messages."""
        return f"{self.path}, line {index + 2}"  # line 1 is the root


@dataclass
class Header:
    """The header of a file, or why it cannot be read.

    Attributes:
        real_path: the path with links resolved.
        frames: length at the file's own rate.
        rate: Hz; 0 if the header cannot be read.
        channels: number of channels.
        problem: the end of a message, "" if the file can be used.
    """

    real_path: str
    frames: int = 0
    rate: int = 0
    channels: int = 0
    problem: str = ""


def read_header(path: str) -> Header:
    """Read the header of a file or of a clip in a pack."""
    piece = split_piece(path)
    real = real_path(path) if piece is None else str(piece._replace(path=real_path(piece.path)))
    if not os.path.exists(file_on_disk(path)):
        return Header(real, problem="found none; correct line 1 if the audio has moved, or build again")
    try:
        with open_audio(path) as file:
            return Header(real, file.frames, file.samplerate, file.channels)
    except AudioError as error:
        return Header(real, problem=f"found one that cannot be read: {error}; build again")


def decode(path: str) -> Header:
    """Read the header of a file and decode the file to its end; look for recordings that follow in a loose file."""
    header = read_header(path)
    if not header.problem:
        try:
            read_audio(path)
            piece = split_piece(path)
            file = path if piece is None else piece.path
            further = further_frames(file) if split_path(file) is None else 0
            if further:
                with open_audio(file) as audio:
                    frames = audio.frames
                header.problem = (
                    f"found several recordings joined to one file of {frames + further} frames, only the first "
                    f"{frames} of which are read; split it, or decode it to another format, then build again"
                )
        except AudioError as error:
            header.problem = f"found one that does not decode: {error}; get it again or remove it, then build again"
    return header


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data_dir", type=Path, metavar="DATA_DIR")
    parser.add_argument(
        "--decode", action="store_true", help="decode every file completely instead of reading its header only"
    )
    parser.add_argument("--workers", type=int_at_least(1), help="processes that read files (default: cores)")


def read_subsets(data_dir: Path) -> tuple[Optional[list[Label]], list[Subset], list[str]]:
    """The classes, the subsets that can be read, and what is wrong with the others.

    Raises:
        ManifestError: there is no manifest at all.
    """
    paths = [data_dir / f"{name}.tsv" for name in list_subsets(data_dir)]
    if not paths:
        raise ManifestError(f"expected <subset>.tsv in {data_dir}, found none; write them with another subcommand")
    vocabulary: Optional[list[Label]] = None
    subsets, errors = [], []
    try:
        vocabulary = read_vocabulary(data_dir / LABELS_FILE) if (data_dir / LABELS_FILE).exists() else None
    except ManifestError as error:
        errors.append(str(error))
    for path in paths:
        try:
            subsets.append(Subset(path, read_manifest(path), None))
            lbl = path.with_suffix(".lbl")
            if lbl.exists() != (data_dir / LABELS_FILE).exists():
                there, lacking = (lbl, data_dir / LABELS_FILE) if lbl.exists() else (data_dir / LABELS_FILE, lbl)
                raise ManifestError(
                    f"{lacking}, line 1: expected a file that goes with {there.name}, found none; build again"
                )
            if vocabulary is not None:
                subset = subsets[-1]
                subset.labels = read_labels(lbl, vocabulary, len(subset.manifest))
                file = events_path(str(data_dir), path.stem)
                if os.path.exists(file):
                    subset.events = read_events(file, vocabulary, subset.manifest, subset.labels)
        except ManifestError as error:
            errors.append(str(error))
    return vocabulary, subsets, errors


def check_files(subset: Subset, headers: Sequence[Header]) -> tuple[list[str], list[str]]:
    """Messages on files that do not exist or cannot be read, and on files of another length than the manifest says."""
    broken, other_length = [], []
    for index, header in enumerate(headers):
        path = subset.manifest.full_path(index)
        if header.problem:
            broken.append(f"{subset.line(index)}: expected an audio file {path!r}, {header.problem}")
        elif header.frames != subset.manifest.frames[index]:
            other_length.append(
                f"{subset.line(index)}: expected {header.frames} frames, as {path!r} has, "
                f"found {subset.manifest.frames[index]}; build again"
            )
    return broken, other_length


def check_twice(subsets: Sequence[Subset], headers: dict[str, list[Header]], of_audioset: bool) -> list[str]:
    """Messages on clips that are listed twice, in one subset or in two.

    Two entries are the same clip if they are the same file or place in a pack (links are followed). In AudioSet also if
    they have the same id, whatever else the names say; elsewhere also if files of two subsets have the same name and
    the same bytes. Clips in packs have no names. A piece is the same clip as that piece of such a file.
    """
    owners: dict[Union[str, tuple[str, str]], tuple[Subset, int]] = {}
    twice = []
    for subset in subsets:
        for index, header in enumerate(headers[subset.path.name]):
            path = subset.manifest.full_path(index)
            identities: list[Union[str, tuple[str, str]]] = [header.real_path]
            piece = split_piece(path)
            file, place = (path, "") if piece is None else (piece.path, f":{piece.first}")
            if split_path(file) is None:
                stem = os.path.splitext(os.path.basename(file))[0]
                ytid = CLIP_NAME.fullmatch(stem) if of_audioset else None
                identities.append(ytid[1] + place if ytid else (stem, f"{header.frames}{place}"))
            for identity in identities:
                owner, line = owners.setdefault(identity, (subset, index))
                if isinstance(identity, tuple):  # a name alone is not enough: each folder may begin with `1.wav`
                    other = file_on_disk(owner.manifest.full_path(line))
                    same = owner is not subset and header.frames and filecmp.cmp(other, file, shallow=False)
                else:
                    same = owner is not subset or line != index
                if same:
                    twice.append(
                        f"{subset.line(index)}: expected every clip once, found {subset.manifest.paths[index]!r}, "
                        f"which {owner.path.name} has in line {line + 2}; leave one of the two out"
                    )
                    break
    return twice


def check_overlaps(subsets: Sequence[Subset], headers: dict[str, list[Header]]) -> list[str]:
    """Messages on pieces that share frames of one file with a piece of another subset, or with the whole file."""
    cut = {piece.path for found in headers.values() for header in found if (piece := split_piece(header.real_path))}
    spans: dict[str, list[Span]] = {}  # of each file; a side is the number of a subset
    for number, subset in enumerate(subsets):
        for index, header in enumerate(headers[subset.path.name]):
            piece = split_piece(header.real_path) if cut else None
            path, first = (piece.path, piece.first) if piece else (header.real_path, 0)
            if path in cut:
                spans.setdefault(path, []).append(Span(first, first + header.frames, number, index))
    messages = []
    for path, of_file in spans.items():
        for span, other in shared_frames(of_file):
            if span[:2] != other[:2]:  # else it is `check_twice`'s
                subset, tsv = subsets[span.side], subsets[other.side].path
                messages.append(
                    f"{subset.line(span.clip)}: expected frames of {path!r} that no other subset has, found "
                    f"{span.first} to {span.end}, and {other.first} to {other.end} in {tsv.name}, line "
                    f"{other.clip + 2}; leave one of the two out"
                )
    return messages


def row(subset: Subset, headers: Sequence[Header], vocabulary: Optional[Sequence[Label]]) -> tuple[list[str], str]:
    """The row of a subset in the table, and a line on labels without a clip, "" if every label has one."""
    readable = [header for header in headers if header.rate]
    seconds = [header.frames / header.rate for header in readable]
    cells = [subset.path.stem, str(len(headers)), f"{sum(seconds) / 3600:.2f}"]
    cells += [_counts(header.rate for header in readable), _counts(header.channels for header in readable)]
    cells += [f"{min(seconds):.2f} s", f"{max(seconds):.2f} s"] if seconds else ["-", "-"]
    if subset.labels is None or vocabulary is None:
        return cells + ["-", "-"], ""
    used = {key for labels in subset.labels for key in labels.present}
    unused = [label.key for label in vocabulary if label.key not in used]
    unlabelled = sum(not labels.present and not labels.absent for labels in subset.labels)
    more = ", ..." if len(unused) > SHOWN else ""
    listed = f"{subset.path.stem}: {len(unused)} labels without a clip: {', '.join(unused[:SHOWN])}{more}"
    return cells + [f"{len(vocabulary) - len(unused)} of {len(vocabulary)}", str(unlabelled)], listed if unused else ""


def _counts(values: Iterable[int]) -> str:
    counts = sorted(Counter(values).items())
    return ", ".join(str(value) if len(counts) == 1 else f"{value} x{count}" for value, count in counts) or "-"


def run(args: argparse.Namespace) -> int:
    """Print a table of the subsets and what is wrong.

    Returns:
        0, or 2 if something is wrong.

    Raises:
        ManifestError: there is no manifest.
    """
    vocabulary, subsets, errors = read_subsets(args.data_dir)
    paths = [subset.manifest.full_path(index) for subset in subsets for index in range(len(subset.manifest))]
    read, desc = (decode, "decoded") if args.decode else (read_header, "headers")
    found = iter(in_parallel(read, paths, args.workers, desc))
    headers = {subset.path.name: [next(found) for _ in subset.manifest.paths] for subset in subsets}
    table, unused, kinds = [list(COLUMNS)], [], [errors]
    for subset in subsets:
        cells, labels = row(subset, headers[subset.path.name], vocabulary)
        table.append(cells)
        unused += [labels] if labels else []
        kinds += check_files(subset, headers[subset.path.name])
    of_audioset = vocabulary is not None and all(label.key.startswith(MIDS) for label in vocabulary)
    kinds += [check_twice(subsets, headers, of_audioset), check_overlaps(subsets, headers)]
    widths = [max(map(len, column)) for column in zip(*table)]
    for cells in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip())
    for line in unused:
        print(line)
    for subset in subsets:
        if subset.events is not None:
            print(f"{subset.path.stem}: {subset.events.total} events")
    for kind in kinds:
        for message in kind[:SHOWN]:
            print(f"maskspec-build: {message}", file=sys.stderr)
        if len(kind) > SHOWN:
            print(f"maskspec-build: ... and {len(kind) - SHOWN} more of this kind", file=sys.stderr)
    total = sum(map(len, kinds))
    print(f"{args.data_dir}: {total} errors" if total else f"{args.data_dir}: no errors")
    return 2 if total else 0
