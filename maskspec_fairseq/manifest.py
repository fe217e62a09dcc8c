"""Read and write what stands in a data directory. No torch and no fairseq here. Format: docs/manifests.md."""

import csv
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Sequence, Tuple, Union

PathLike = Union[str, "os.PathLike[str]"]

LABELS_FILE = "labels.csv"
LABELS_HEADER = ["index", "mid", "display_name"]
MEL_STATS_FILE = "mel_stats.json"


class ManifestError(Exception):
    """A data directory does not hold what it should."""


@dataclass
class Manifest:
    """The clips of one subset: files below a root, each with its length in frames at the file's own rate."""

    root: str
    paths: List[str]
    frames: List[int]

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
        paths, frames = [], []
        for number, line in enumerate(stream, start=2):
            fields = line.rstrip("\n").split("\t")
            if len(fields) != 2 or not fields[1].isdigit() or int(fields[1]) == 0:
                raise ManifestError(
                    f"{path}, line {number}: expected `path<TAB>frames` with at least one frame, found {line!r}; "
                    "write the manifest again with manifests/build.py"
                )
            paths.append(fields[0])
            frames.append(int(fields[1]))
    if not paths:
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
    paths = [
        os.path.relpath(manifest.full_path(index), root) for manifest in manifests for index in range(len(manifest))
    ]
    return Manifest(root, paths, [frames for manifest in manifests for frames in manifest.frames])


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


def write_labels(path: PathLike, clips: Sequence[ClipLabels]) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        for clip in clips:
            stream.write(",".join([*clip.present, *(f"-{key}" for key in clip.absent)]) + "\n")


def read_labels(path: PathLike, vocabulary: Sequence[Label], num_clips: int) -> List[ClipLabels]:
    """Read `<subset>.lbl`, one line a clip of the manifest.

    Raises:
        ManifestError: another number of lines than clips, or a key that is not in the vocabulary, with its line.
    """
    known = {label.key for label in vocabulary}
    with open(path, encoding="utf-8", newline="\n") as stream:
        lines = stream.read().split("\n")[:-1]
    if len(lines) != num_clips:
        line = min(len(lines), num_clips) + 1  # the first that lacks or is too many
        raise ManifestError(
            f"{path}, line {line}: expected one line for each of the {num_clips} clips, found {len(lines)}"
        )
    clips = []
    for number, line in enumerate(lines, start=1):
        keys = [key for key in line.split(",") if key]
        absent = [key[1:] for key in keys if key.startswith("-")]
        present = [key for key in keys if not key.startswith("-")]
        unknown = [key for key in [*present, *absent] if key not in known]
        if unknown:
            raise ManifestError(f"{path}, line {number}: expected keys of {LABELS_FILE}, found {', '.join(unknown)}")
        clips.append(ClipLabels(present, absent))
    return clips


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
