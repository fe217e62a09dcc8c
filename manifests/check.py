"""Check a data directory: files, lengths, rates, labels, and clips that two subsets share."""

import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import soundfile
from corpus import in_parallel

from maskspec_fairseq.cli.arguments import whole
from maskspec_fairseq.manifest import (
    LABELS_FILE,
    Label,
    Manifest,
    ManifestError,
    PackedLabels,
    read_labels,
    read_manifest,
    read_vocabulary,
)

SHOWN = 10  # errors of a kind, and names in a list
COLUMNS = ("subset", "clips", "hours", "rates", "channels", "shortest", "longest", "classes", "unlabelled")


@dataclass
class Subset:
    path: Path  # of the manifest
    manifest: Manifest
    labels: Optional[PackedLabels]

    def line(self, index: int) -> str:
        return f"{self.path}, line {index + 2}"  # line 1 is the root


@dataclass
class Header:
    """What a file says of itself, or why it cannot."""

    real_path: str
    frames: int = 0
    rate: int = 0
    channels: int = 0
    problem: str = ""


def read_header(path: str) -> Header:
    real = os.path.realpath(path)
    if not os.path.isfile(path):
        return Header(real, problem="found none")
    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, OSError) as error:
        return Header(real, problem=f"found one that cannot be read: {error}")
    return Header(real, info.frames, info.samplerate, info.channels)


def add_arguments(parser) -> None:
    parser.add_argument("data_dir", type=Path, metavar="DATA_DIR")
    parser.add_argument("--workers", type=whole(1), help="processes that read headers (default: cores)")


def read_subsets(data_dir: Path) -> Tuple[Optional[List[Label]], List[Subset], List[str]]:
    """The classes, the subsets that can be read, and what is wrong with the others."""
    paths = sorted(path for path in data_dir.glob("*.tsv") if not path.name.endswith(".rejected.tsv"))
    if not paths:
        raise ManifestError(f"expected <subset>.tsv in {data_dir}, found none; write them with another subcommand")
    vocabulary, subsets, errors = None, [], []
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
                subsets[-1].labels = read_labels(lbl, vocabulary, len(subsets[-1].manifest))
        except ManifestError as error:
            errors.append(str(error))
    return vocabulary, subsets, errors


def check_files(subset: Subset, headers: Sequence[Header]) -> Tuple[List[str], List[str]]:
    """Files that are not there or not readable, and those of another length than the manifest says."""
    broken, other_length = [], []
    for index, header in enumerate(headers):
        path = subset.manifest.full_path(index)
        if header.problem:
            broken.append(
                f"{subset.line(index)}: expected an audio file {path!r}, {header.problem}; "
                "correct line 1 if the audio has moved, or build again"
            )
        elif header.frames != subset.manifest.frames[index]:
            other_length.append(
                f"{subset.line(index)}: expected {header.frames} frames, as {path!r} has, "
                f"found {subset.manifest.frames[index]}; build again"
            )
    return broken, other_length


def check_shared(subsets: Sequence[Subset], headers: Dict[str, List[Header]]) -> List[str]:
    """Clips that are in two subsets: the same file or, where names tell all clips of a subset apart, the same name.

    Two files of one name are the same clip in AudioSet and ESC-50, and are not in a tree of folders that each begin
    with `1.wav`; there only the same file counts.
    """
    stems = [[os.path.splitext(os.path.basename(path))[0] for path in subset.manifest.paths] for subset in subsets]
    named = all(len(set(names)) == len(names) for names in stems)
    owners: Dict[str, Tuple[Subset, int]] = {}
    shared = []
    for subset, names in zip(subsets, stems):
        for index, (name, header) in enumerate(zip(names, headers[subset.path.name])):
            for identity in (header.real_path, name) if named else (header.real_path,):
                owner, line = owners.setdefault(identity, (subset, index))
                if owner is not subset:
                    shared.append(
                        f"{subset.line(index)}: expected a clip that no other subset has, found "
                        f"{subset.manifest.paths[index]!r}, which {owner.path.name} has in line {line + 2}; "
                        "leave it out of one of the two"
                    )
                    break
    return shared


def row(subset: Subset, headers: Sequence[Header], vocabulary: Optional[Sequence[Label]]) -> Tuple[List[str], str]:
    """The subset's row of the table, and a line on labels without a clip."""
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


def _counts(values) -> str:
    counts = sorted(Counter(values).items())
    return ", ".join(str(value) if len(counts) == 1 else f"{value} x{count}" for value, count in counts) or "-"


def run(args) -> int:
    """Print the table and what is wrong; 1 where something is."""
    vocabulary, subsets, errors = read_subsets(args.data_dir)
    paths = [subset.manifest.full_path(index) for subset in subsets for index in range(len(subset.manifest))]
    found = iter(in_parallel(read_header, paths, args.workers))
    headers = {subset.path.name: [next(found) for _ in subset.manifest.paths] for subset in subsets}
    table, unused, kinds = [list(COLUMNS)], [], [errors]
    for subset in subsets:
        cells, labels = row(subset, headers[subset.path.name], vocabulary)
        table.append(cells)
        unused += [labels] if labels else []
        kinds += check_files(subset, headers[subset.path.name])
    kinds.append(check_shared(subsets, headers))
    widths = [max(map(len, column)) for column in zip(*table)]
    for cells in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip())
    for line in unused:
        print(line)
    for kind in kinds:
        for message in kind[:SHOWN]:
            print(f"build.py: {message}", file=sys.stderr)
        if len(kind) > SHOWN:
            print(f"build.py: ... and {len(kind) - SHOWN} more of this kind", file=sys.stderr)
    total = sum(map(len, kinds))
    print(f"{args.data_dir}: {total} errors" if total else f"{args.data_dir}: no errors")
    return 1 if total else 0
