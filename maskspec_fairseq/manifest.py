"""Read and write what stands in a data directory. No torch and no fairseq here. Format: docs/manifests.md."""

import csv
import os
import re
import shutil
import tempfile
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, Sequence, Tuple, Union

import numpy as np

from maskspec_fairseq.packed import PackedRows, PackedStrings

PathLike = Union[str, "os.PathLike[str]"]

LABELS_FILE = "labels.csv"
LABELS_HEADER = ["index", "mid", "display_name"]
MEL_STATS_FILE = "mel_stats.json"
BYTE_ORDER_MARK = "\ufeff"
FOLD = re.compile(r"fold(\d+)\.tsv")
FRAMES = re.compile("[1-9][0-9]{0,17}")  # fits an int64, and is written in one way
KEY = re.compile("[^\\s,\ufeff-][^\\s,]*")
SHOWN = 200  # characters of a line in a message


class ManifestError(Exception):
    """A data directory does not hold what it should."""


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


def problem_of_text(text: str) -> str:
    """Why a line cannot hold a text, "" where it can."""
    if "\n" in text or "\r" in text or "\0" in text:
        return "holds a line break or a NUL"
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return "is not UTF-8"
    return ""


def problem_of_path(path: str) -> str:
    """Why a manifest cannot hold the path of a clip, "" where it can."""
    if not path:
        return "is empty"
    if path[0] == "/":
        return "is absolute"
    if ".." in path and os.path.normpath(path).split("/")[0] == "..":
        return "leads out of the root"
    if "\t" in path or "\n" in path or "\r" in path:
        return "holds a tab or a line break, which a manifest cannot"
    return problem_of_text(path)


def write_manifest(path: PathLike, manifest: Manifest) -> None:
    """Write `<subset>.tsv`.

    Raises:
        ManifestError: a root, a path or a number of frames that could not be read back.
    """
    root = manifest.root
    problem = problem_of_text(root) if os.path.isabs(root) else "is not absolute"
    if problem:
        raise ManifestError(
            f"{path}, line 1: expected the absolute path of a directory, found {root!r}, which {problem}; rename it"
        )
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(f"{root}\n")
        for number, (name, frames) in enumerate(zip(manifest.paths, manifest.frames), start=2):
            problem = problem_of_path(name)
            if not problem and not FRAMES.fullmatch(str(frames)):
                problem = f"has {frames} frames"
            if problem:
                raise ManifestError(
                    f"{path}, line {number}: expected a path below the root and at least one frame, found {name!r}, "
                    f"which {problem}; rename the file or leave it out"
                )
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


def list_folds(directory: PathLike) -> List[int]:
    """The numbers of the subsets fold1, fold2, ... of a data directory, ascending."""
    names = os.listdir(directory) if os.path.isdir(directory) else []
    return sorted(int(match[1]) for match in map(FOLD.fullmatch, names) if match)


def decoded_lines(path: PathLike) -> Iterator[str]:
    """Lines of a text with their ends.

    Raises:
        ManifestError: no such file, or a line that is not UTF-8, with its number.
    """
    if not os.path.isfile(path):  # a pipe would be waited for
        raise ManifestError(f"expected a file {path}, found none; build again")
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ManifestError(
                    f"{path}, line {number}: expected UTF-8, found {line[:SHOWN]!r} ({error.reason}); write it again"
                ) from error


def read_lines(path: PathLike) -> Iterator[str]:
    r"""Lines of a text without the `\n` that each of them ends with.

    Other line ends and a byte-order mark are refused and not mended: a file that means the same to every program that
    reads it line by line beside the label file is the better cure, and it takes one command.

    Raises:
        ManifestError: what is no such line, with its number.
    """
    for number, line in enumerate(decoded_lines(path), start=1):
        problem = ""
        if "\r" in line:
            problem = rf"expected `\n` alone at line ends, found `\r`; mend it by `sed -i 's/\r$//' {path}`"
        elif number == 1 and line.startswith(BYTE_ORDER_MARK):
            problem = rf"expected text, found a byte-order mark; remove it by `sed -i '1s/^\xEF\xBB\xBF//' {path}`"
        elif "\0" in line:
            problem = "expected text, found a NUL byte; write the file again"
        elif not line.endswith("\n"):
            problem = f"expected a line break at its end, found {line[:SHOWN]!r} and no more; is the file cut off?"
        if problem:
            raise ManifestError(f"{path}, line {number}: {problem}")
        yield line[:-1]


def read_manifest(path: PathLike) -> Manifest:
    """Read `<subset>.tsv`.

    Raises:
        ManifestError: no such file, no clips, or a line that is not `path<TAB>frames`, with its number.
    """
    expect_manifest(path)
    lines = read_lines(path)
    root = next(lines, "")
    paths, frames = PackedStrings(), array("q")
    for number, line in enumerate(lines, start=2):
        fields = line.split("\t")
        if len(fields) != 2 or not FRAMES.fullmatch(fields[1]):
            raise ManifestError(
                f"{path}, line {number}: expected `path<TAB>frames` with at least one frame, found {line[:SHOWN]!r}; "
                "write the manifest again with manifests/build.py"
            )
        problem = problem_of_path(fields[0])
        if problem:
            raise ManifestError(
                f"{path}, line {number}: expected a path below the root, found {fields[0][:SHOWN]!r}, which {problem}; "
                "write the manifest again with manifests/build.py, for a directory that holds all of the audio"
            )
        paths.append(fields[0])
        frames.append(int(fields[1]))
    if not len(paths):
        raise ManifestError(f"{path}: expected a root line and at least one clip, found no clip")
    if not os.path.isabs(root) or not os.path.isdir(root):
        raise ManifestError(
            f"{path}, line 1: expected the directory that the paths start from, found {root[:SHOWN]!r}, which is not "
            f"{'there' if os.path.isabs(root) else 'absolute'}; correct the line if the audio has moved"
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


def problem_of_key(key: str) -> str:
    """Why a label file cannot hold a key, "" where it can."""
    return problem_of_text(key) if KEY.fullmatch(key) else "is empty, holds a comma or a space, or begins with `-`"


def write_vocabulary(path: PathLike, labels: Sequence[Label]) -> None:
    """Write `labels.csv`.

    Raises:
        ManifestError: a key or a name that could not be read back, or a key twice.
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


def read_vocabulary(path: PathLike) -> List[Label]:
    r"""Read `labels.csv`, which is CSV and may end its lines with `\r\n`.

    Raises:
        ManifestError: another header, indices that do not count from 0, a key twice or one that label files cannot
            hold, or no CSV in UTF-8.
    """
    rows: List[List[str]] = []
    try:
        rows.extend(csv.reader(decoded_lines(path), strict=True))
    except csv.Error as error:
        raise ManifestError(f"{path}, line {len(rows) + 1}: expected a row of CSV, found: {error}") from error
    if not rows or rows[0] != LABELS_HEADER:
        raise ManifestError(f"{path}, line 1: expected {','.join(LABELS_HEADER)}, found {rows[:1]}")
    labels: Dict[str, Label] = {}
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
    """Write `<subset>.lbl`.

    Raises:
        ManifestError: a key that could not be read back, or one that is both present and absent.
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
    """Read `<subset>.lbl`, one line a clip of the manifest.

    Raises:
        ManifestError: another number of lines than clips, a key that is not in the vocabulary, or one that is both
            present and absent, with its line.
    """
    known = {label.key for label in vocabulary}
    num_lines = sum(1 for _ in read_lines(path))
    if num_lines != num_clips:
        line = min(num_lines, num_clips) + 1  # the first that lacks or is too many
        raise ManifestError(
            f"{path}, line {line}: expected one line for each of the {num_clips} clips, found {num_lines}"
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
