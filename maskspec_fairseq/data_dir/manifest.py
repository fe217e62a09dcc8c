"""Read and write manifests, `<subset>.tsv` and `<subset>.rejected.tsv`. Format: docs/manifests.md."""

import os
import re
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskspec_fairseq.atomic_write import PathLike
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.lines import SHOWN, problem_of_text, read_lines
from maskspec_fairseq.data_dir.packed import PackedStrings

FOLD = re.compile(r"fold(\d+)\.tsv")
FRAMES = re.compile("[1-9][0-9]{0,17}")  # fits an int64, and every number has one spelling


class Manifest:
    """The clips of one subset: files below a root, each with its length in frames at the file's own rate.

    Attributes:
        root: absolute path of a directory.
        paths: of the N clips, relative to the root.
        frames: int64 (N,).
    """

    def __init__(self, root: str, paths: Iterable[str], frames: npt.ArrayLike) -> None:
        self.root = root
        self.paths = paths if isinstance(paths, PackedStrings) else PackedStrings(paths)
        self.frames = np.asarray(frames, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def full_path(self, index: int) -> str:
        """The absolute path of a clip."""
        return os.path.join(self.root, self.paths[index])


def problem_of_path(path: str) -> str:
    """Why a manifest cannot hold the path of a clip; "" if it can."""
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
        ManifestError: the root, a path or a number of frames could not be read back.
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


def check_manifest(path: PathLike) -> None:
    """Check that a file `<subset>.tsv` exists.

    Raises:
        ManifestError: it does not; the message names the subsets that do.
    """
    if not os.path.isfile(path):
        subsets = ", ".join(list_subsets(os.path.dirname(path) or "."))
        raise ManifestError(
            f"expected a manifest at {path}, found "
            + (
                f"only the subsets {subsets} there; name one of them"
                if subsets
                else "none in that directory; write one with `maskspec-build folder AUDIO_DIR --out DATA_DIR`"
            )
        )


def list_subsets(directory: PathLike) -> list[str]:
    """The names of the subsets of a data directory, sorted; none if there is no directory."""
    return [path.stem for path in sorted(Path(directory).glob("*.tsv")) if not path.stem.endswith(".rejected")]


def list_folds(directory: PathLike) -> list[int]:
    """The numbers of the subsets fold1, fold2, ... in a data directory, ascending; none if there is no directory."""
    names = os.listdir(directory) if os.path.isdir(directory) else []
    return sorted(int(match[1]) for match in map(FOLD.fullmatch, names) if match)


def read_manifest(path: PathLike) -> Manifest:
    """Read `<subset>.tsv`.

    Raises:
        ManifestError: there is no such file, it lists no clips, its root is not a directory, or a line is not
            `path<TAB>frames`; the message has its number.
    """
    check_manifest(path)
    lines = read_lines(path)
    root = next(lines, "")
    paths, frames = PackedStrings(), array("q")
    for number, line in enumerate(lines, start=2):
        fields = line.split("\t")
        if len(fields) != 2 or not FRAMES.fullmatch(fields[1]):
            raise ManifestError(
                f"{path}, line {number}: expected `path<TAB>frames` with at least one frame, found {line[:SHOWN]!r}; "
                "write the manifest again with maskspec-build"
            )
        problem = problem_of_path(fields[0])
        if problem:
            raise ManifestError(
                f"{path}, line {number}: expected a path below the root, found {fields[0][:SHOWN]!r}, which {problem}; "
                "write the manifest again with maskspec-build, for a directory that holds all of the audio"
            )
        paths.append(fields[0])
        frames.append(int(fields[1]))
    if not len(paths):
        raise ManifestError(f"{path}: expected a root line and at least one clip, found no clip")
    if not os.path.isabs(root) or not os.path.isdir(root):
        raise ManifestError(
            f"{path}, line 1: expected the directory that the paths start from, found {root[:SHOWN]!r}, which is not "
            f"{'a directory' if os.path.isabs(root) else 'absolute'}; correct the line if the audio has moved"
        )
    return Manifest(root, paths, frames)


def join_manifests(manifests: Sequence[Manifest]) -> Manifest:
    """Several manifests as one, in order; its root is the common parent of theirs."""
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


def write_rejected(path: PathLike, rejected: Sequence[tuple[str, str]]) -> None:
    """Write `<subset>.rejected.tsv`.

    Args:
        rejected: path and reason of each clip.
    """
    with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
        for name, reason in rejected:
            stream.write("\t".join(" ".join(field.split()) for field in (name, reason)) + "\n")


def num_rejected(path: PathLike) -> int:
    """The number of lines in `<subset>.rejected.tsv`: clips that are missing from the manifest. 0 without a file."""
    if not os.path.isfile(path):
        return 0
    with open(path, encoding="utf-8", newline="\n") as stream:
        return sum(1 for _ in stream)
