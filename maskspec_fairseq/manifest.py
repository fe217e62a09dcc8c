"""Read and write what stands in a data directory. No torch and no fairseq here. Format: docs/manifests.md."""

import csv
import os
import re
import shutil
import tempfile
from array import array
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Sequence, Tuple, Union

import numpy as np

PathLike = Union[str, "os.PathLike[str]"]

LABELS_FILE = "labels.csv"
LABELS_HEADER = ["index", "mid", "display_name"]
MEL_STATS_FILE = "mel_stats.json"
FRAMES = re.compile("[0-9]{1,18}")  # fits an int64


class ManifestError(Exception):
    """A data directory does not hold what it should."""


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


@dataclass(eq=False)
class Manifest:
    """The clips of one subset: files below a root, each with its length in frames at the file's own rate.

    Paths and frames are given as any sequences, and kept as `PackedStrings` and int64 (N,).
    """

    root: str
    paths: Sequence[str]
    frames: Sequence[int]

    def __post_init__(self) -> None:
        if not isinstance(self.paths, PackedStrings):
            self.paths = PackedStrings(self.paths)
        self.frames = np.asarray(self.frames, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def full_path(self, index: int) -> str:
        return os.path.join(self.root, self.paths[index])


def write_manifest(path: PathLike, manifest: Manifest) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(f"{manifest.root}\n")
        for name, frames in zip(manifest.paths, manifest.frames):
            stream.write(f"{name}\t{frames}\n")


def expect_manifest(path: PathLike) -> None:
    """See that there is a file `<subset>.tsv`.

    Raises:
        ManifestError: there is none.
    """
    if not os.path.isfile(path):
        directory = os.path.dirname(path) or "."
        found = sorted(Path(directory).glob("*.tsv")) if os.path.isdir(directory) else []
        subsets = ", ".join(p.stem for p in found if not p.stem.endswith(".rejected"))
        raise ManifestError(
            f"expected a manifest at {path}, found "
            + (f"only the subsets {subsets} there" if subsets else "none in that directory")
            + "; write one with `python manifests/build.py folder AUDIO_DIR --out DATA_DIR` and set task.data=DATA_DIR"
        )


def read_manifest(path: PathLike) -> Manifest:
    """Read `<subset>.tsv`.

    Raises:
        ManifestError: no such file, no clips, or a line that is not `path<TAB>frames`, with its number.
    """
    expect_manifest(path)
    with open(path, encoding="utf-8", newline="\n") as stream:
        root = stream.readline().rstrip("\n")
        paths, frames = PackedStrings(), array("q")
        for number, line in enumerate(stream, start=2):
            fields = line.rstrip("\n").split("\t")
            if len(fields) != 2 or not FRAMES.fullmatch(fields[1]) or int(fields[1]) == 0:
                raise ManifestError(
                    f"{path}, line {number}: expected `path<TAB>frames` with at least one frame, found {line!r}; "
                    "write the manifest again with manifests/build.py"
                )
            paths.append(fields[0])
            frames.append(int(fields[1]))
    if not len(paths):
        raise ManifestError(f"{path}: expected a root line and at least one clip, found no clip")
    if not os.path.isdir(root):
        raise ManifestError(
            f"{path}, line 1: expected the directory that the paths start from, found {root!r}, which is not there; "
            "correct the line if the audio has moved"
        )
    return Manifest(root, paths, frames)


def join_manifests(manifests: Sequence[Manifest]) -> Manifest:
    """One manifest of several, in order."""
    if len(manifests) == 1:
        return manifests[0]
    root = os.path.commonpath([manifest.root for manifest in manifests])
    paths = PackedStrings()
    for manifest in manifests:
        folder = os.path.relpath(manifest.root, root)
        if folder == os.curdir:
            paths.extend(manifest.paths)
        else:
            for path in manifest.paths:
                paths.append(os.path.join(folder, path))
    return Manifest(root, paths, np.concatenate([manifest.frames for manifest in manifests]))


@dataclass
class Label:
    """One class: a key without commas or spaces that the label files use, and the name that people read."""

    key: str
    name: str


def write_vocabulary(path: PathLike, labels: Sequence[Label]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(LABELS_HEADER)
        writer.writerows([index, label.key, label.name] for index, label in enumerate(labels))


def read_vocabulary(path: PathLike) -> List[Label]:
    """Read `labels.csv`.

    Raises:
        ManifestError: another header, indices that do not count from 0, or a key twice.
    """
    with open(path, encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream, skipinitialspace=True))
    if not rows or rows[0] != LABELS_HEADER:
        raise ManifestError(f"{path}, line 1: expected {','.join(LABELS_HEADER)}, found {rows[:1]}")
    labels: Dict[str, Label] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 3 or row[0] != str(number - 2) or row[1] in labels:
            raise ManifestError(f"{path}, line {number}: expected `{number - 2},key,name` with a new key, found {row}")
        labels[row[1]] = Label(row[1], row[2])
    return list(labels.values())


@dataclass
class ClipLabels:
    """What is known of one clip: the keys that apply, and those known not to; of the others see docs/manifests.md."""

    present: List[str]
    absent: Sequence[str] = ()


class PackedLabels(Sequence[ClipLabels]):
    """A sequence of `ClipLabels`, kept as rows of class numbers: those present, and those known to be absent."""

    def __init__(self, vocabulary: Sequence[Label], clips: Iterable[ClipLabels] = ()) -> None:
        self.vocabulary = vocabulary
        self.present = PackedRows()
        self.absent = PackedRows()
        self._numbers = {label.key: number for number, label in enumerate(vocabulary)}
        for clip in clips:
            self.append(clip)

    def append(self, clip: ClipLabels) -> None:
        self.present.append(self._numbers[key] for key in clip.present)
        self.absent.append(self._numbers[key] for key in clip.absent)

    def __len__(self) -> int:
        return len(self.present)

    def __getitem__(self, index: int) -> ClipLabels:
        return ClipLabels(*([self.vocabulary[n].key for n in rows[index]] for rows in (self.present, self.absent)))


def write_labels(path: PathLike, clips: Sequence[ClipLabels]) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        for clip in clips:
            stream.write(",".join([*clip.present, *(f"-{key}" for key in clip.absent)]) + "\n")


def read_labels(path: PathLike, vocabulary: Sequence[Label], num_clips: int) -> PackedLabels:
    """Read `<subset>.lbl`, one line a clip of the manifest.

    Raises:
        ManifestError: another number of lines than clips, or a key that is not in the vocabulary, with its line.
    """
    known = {label.key for label in vocabulary}
    with open(path, "rb") as stream:
        num_lines = sum(block.count(b"\n") for block in iter(lambda: stream.read(2**20), b""))
    if num_lines != num_clips:
        line = min(num_lines, num_clips) + 1  # the first that lacks or is too many
        raise ManifestError(
            f"{path}, line {line}: expected one line for each of the {num_clips} clips, found {num_lines}"
        )
    labels = PackedLabels(vocabulary)
    with open(path, encoding="utf-8", newline="\n") as stream:
        for number, line in enumerate(islice(stream, num_clips), start=1):
            keys = [key for key in line.rstrip("\n").split(",") if key]
            absent = [key[1:] for key in keys if key.startswith("-")]
            present = [key for key in keys if not key.startswith("-")]
            unknown = [key for key in [*present, *absent] if key not in known]
            if unknown:
                raise ManifestError(
                    f"{path}, line {number}: expected keys of {LABELS_FILE}, found {', '.join(unknown)}"
                )
            labels.append(ClipLabels(present, absent))
    return labels


def join_labels(parts: Sequence[PackedLabels]) -> PackedLabels:
    """The labels of several subsets of one vocabulary, in order."""
    if len(parts) == 1:
        return parts[0]
    joined = PackedLabels(parts[0].vocabulary)
    for part in parts:
        joined.present.extend(part.present)
        joined.absent.extend(part.absent)
    return joined


def write_rejected(path: PathLike, rejected: Sequence[Tuple[str, str]]) -> None:
    """Write `<subset>.rejected.tsv`: path<TAB>reason."""
    with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
        for name, reason in rejected:
            stream.write("\t".join(" ".join(field.split()) for field in (name, reason)) + "\n")


def num_rejected(path: PathLike) -> int:
    """Lines of `<subset>.rejected.tsv`: clips that the corpus lists and the manifest has not."""
    if not os.path.isfile(path):
        return 0
    with open(path, encoding="utf-8", newline="\n") as stream:
        return sum(1 for _ in stream)


def write_together(directory: PathLike, files: Dict[str, Callable[[Path], None]], stale: Iterable[str] = ()) -> None:
    """Write several files of a directory so that an interrupt leaves nothing half-written: each is moved in whole.

    Args:
        files: file name -> function that writes the file at the path that it is given.
        stale: names of files to remove where they exist, once the new ones are complete.
    """
    os.makedirs(directory, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=directory))
    try:
        for name, write in files.items():
            write(scratch / name)
        for name in stale:
            Path(directory, name).unlink(missing_ok=True)
        for name in files:
            os.replace(scratch / name, os.path.join(directory, name))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
