"""Read and write `labels.csv`, the classes, and `<subset>.lbl`, the labels of each clip. Format: docs/manifests.md."""

import csv
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from maskspec_fairseq.atomic_write import PathLike
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.lines import BYTE_ORDER_MARK, decoded_lines, problem_of_text, read_lines
from maskspec_fairseq.data_dir.packed import PackedRows

LABELS_FILE = "labels.csv"
LABELS_HEADER = ["index", "mid", "display_name"]
KEY = re.compile("[^\\s,\ufeff-][^\\s,]*")


@dataclass(frozen=True)
class Label:
    """One class: the key that label files use, without commas or spaces, and the name that people read."""

    key: str
    name: str


def problem_of_key(key: str) -> str:
    """Why a label file cannot hold a key; "" if it can."""
    return problem_of_text(key) if KEY.fullmatch(key) else "is empty, holds a comma or a space, or begins with `-`"


def write_vocabulary(path: PathLike, labels: Sequence[Label]) -> None:
    """Write `labels.csv`.

    Raises:
        ManifestError: a key or a name could not be read back, or a key is there twice.
    """
    keys = set()
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(LABELS_HEADER)
        for index, label in enumerate(labels):
            problem = problem_of_key(label.key) or problem_of_text(label.name)
            if problem or label.key in keys:
                raise ManifestError(
                    f"{path}, line {index + 2}: expected a new key and a name, found {label.key!r} and {label.name!r}, "
                    f"of which one {problem or 'is there already'}; rename the class"
                )
            keys.add(label.key)
            writer.writerow([index, label.key, label.name])


def read_vocabulary(path: PathLike) -> list[Label]:
    r"""Read `labels.csv`, which is CSV: its lines may end in `\r\n` and a byte-order mark may be in front.

    Raises:
        ManifestError: there is no such file, the header differs, the indices do not count from 0, a key is there twice
            or cannot be in a label file, or the file is not CSV in UTF-8.
    """
    if not os.path.isfile(path):
        raise ManifestError(
            f"expected the classes in {path}, found no such file; write the data directory with a subcommand of "
            "maskspec-build that has labels (folder: with --labels-from-parent)"
        )
    rows: list[list[str]] = []
    try:
        lines = decoded_lines(path)
        first = next(lines, "").removeprefix(BYTE_ORDER_MARK)  # spreadsheets write one
        rows.extend(csv.reader(chain([first], lines), strict=True))
    except csv.Error as error:
        raise ManifestError(f"{path}, line {len(rows) + 1}: expected a row of CSV, found: {error}") from error
    if not rows or rows[0] != LABELS_HEADER:
        raise ManifestError(f"{path}, line 1: expected {','.join(LABELS_HEADER)}, found {rows[:1]}")
    labels: dict[str, Label] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 3 or row[0] != str(number - 2) or row[1] in labels:
            raise ManifestError(f"{path}, line {number}: expected `{number - 2},key,name` with a new key, found {row}")
        problem = problem_of_key(row[1]) or problem_of_text(row[2])
        if problem:
            raise ManifestError(
                f"{path}, line {number}: expected a key and a name, found {row[1:]}, of which one {problem}"
            )
        labels[row[1]] = Label(row[1], row[2])
    return list(labels.values())


@dataclass
class ClipLabels:
    """The keys of the classes that are present in a clip and of those known to be absent.

    What it means that a class is in neither list depends on the corpus, see docs/manifests.md.
    """

    present: list[str]
    absent: Sequence[str] = ()


class PackedLabels(Sequence[ClipLabels]):
    """A sequence of `ClipLabels`, stored as class indices.

    Attributes:
        vocabulary: the classes.
        present, absent: for each clip the indices of the classes present and of those known to be absent.
    """

    def __init__(self, vocabulary: Sequence[Label], clips: Iterable[ClipLabels] = ()) -> None:
        self.vocabulary = vocabulary
        self.present = PackedRows()
        self.absent = PackedRows()
        self._numbers = {label.key: number for number, label in enumerate(vocabulary)}
        for clip in clips:
            self.append(clip)

    def append(self, clip: ClipLabels) -> None:
        """Add the labels of a clip, whose keys are in the vocabulary."""
        self.present.append(self._numbers[key] for key in clip.present)
        self.absent.append(self._numbers[key] for key in clip.absent)

    def __len__(self) -> int:
        return len(self.present)

    def __getitem__(self, index: int) -> ClipLabels:  # type: ignore[override]  # no slices: nothing needs them
        return ClipLabels(*([self.vocabulary[n].key for n in rows[index]] for rows in (self.present, self.absent)))


def write_labels(path: PathLike, clips: Sequence[ClipLabels]) -> None:
    """Write `<subset>.lbl`.

    Raises:
        ManifestError: a key could not be read back, or is both present and absent.
    """
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        for number, clip in enumerate(clips, start=1):
            for key in (*clip.present, *clip.absent):
                problem = problem_of_key(key)
                if not problem and key in clip.present and key in clip.absent:
                    problem = "is both present and absent"
                if problem:
                    raise ManifestError(f"{path}, line {number}: expected a key, found {key!r}, which {problem}")
            stream.write(",".join([*clip.present, *(f"-{key}" for key in clip.absent)]) + "\n")


def read_labels(path: PathLike, vocabulary: Sequence[Label], num_clips: int) -> PackedLabels:
    """Read `<subset>.lbl`, which has one line per clip of the manifest.

    Raises:
        ManifestError: the number of lines is not that of the clips, a key is not in the vocabulary, or is both present
            and absent; the message has the number of the line.
    """
    known = {label.key for label in vocabulary}
    num_lines = sum(1 for _ in read_lines(path))
    if num_lines != num_clips:
        first = min(num_lines, num_clips) + 1  # of the lines that are missing or too many
        raise ManifestError(
            f"{path}, line {first}: expected one line for each of the {num_clips} clips, found {num_lines}"
        )
    labels = PackedLabels(vocabulary)
    for number, line in enumerate(read_lines(path), start=1):
        keys = line.split(",") if line else []
        absent = [key[1:] for key in keys if key.startswith("-")]
        present = [key for key in keys if not key.startswith("-")]
        unknown = [key or "an empty one" for key in [*present, *absent] if key not in known]
        if unknown:
            raise ManifestError(f"{path}, line {number}: expected keys of {LABELS_FILE}, found {', '.join(unknown)}")
        both = set(present) & set(absent)
        if both:
            raise ManifestError(f"{path}, line {number}: expected a class present or absent, found {min(both)} as both")
        labels.append(ClipLabels(present, absent))
    return labels


def join_labels(parts: Sequence[PackedLabels]) -> PackedLabels:
    """The labels of several subsets as one sequence, in order; they share one vocabulary."""
    if len(parts) == 1:
        return parts[0]
    joined = PackedLabels(parts[0].vocabulary)
    for part in parts:
        joined.present.extend(part.present)
        joined.absent.extend(part.absent)
    return joined


def read_subset_labels(
    directory: str, subset: str, vocabulary: Sequence[Label], num_clips: int, target_is_multilabel: bool
) -> PackedLabels:
    """Read the labels of a subset and check that they fit the task.

    Args:
        target_is_multilabel: a clip may have any number of classes; otherwise it has exactly one.

    Raises:
        ManifestError: there is no label file, it does not fit the manifest (see `read_labels`), a clip has not exactly
            one class, or no clip of a multi-label subset has any.
    """
    path = os.path.join(directory, f"{subset}.lbl")
    if not os.path.isfile(path):
        raise ManifestError(f"expected the labels of {subset} in {path}, found no such file; build them again")
    labels = read_labels(path, vocabulary, num_clips)
    present, absent = labels.present.lengths, labels.absent.lengths
    if target_is_multilabel:
        if not present.any():
            raise ManifestError(
                f"{path}: expected clips with classes, found none, so there is no mAP to compute; "
                "label the subset or choose another"
            )
        return labels
    wrong = np.flatnonzero((present != 1) | (absent > 0))
    if len(wrong):
        line = wrong[0]
        cure = "several classes per clip need task.target_is_multilabel=true" if present[line] > 1 else "label the clip"
        raise ManifestError(
            f"{path}, line {line + 1}: expected one class and none marked as absent, found {present[line]} and "
            f"{absent[line]}; correct the line, or {cure}"
        )
    return labels
