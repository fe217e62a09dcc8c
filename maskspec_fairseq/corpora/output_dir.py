"""Check, before the work, that its results can be written, and that a build would not spoil what is there."""

import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import LABELS_FILE, LABELS_HEADER

SUBSET_FILE = re.compile(r"([^.].*?)(?:\.rejected)?\.(?:tsv|lbl|events)")
CLIP_LINE = re.compile(r"[^\t]+\t\d+\n?")


def check_writable(out: Path, option: str = "--out") -> None:
    """Check that a directory can be written, by writing and removing a folder where it is or will be.

    Args:
        option: that it was named by, for the message.

    Raises:
        ManifestError: the path is a file, or writing there is not allowed.
    """
    there = next(path for path in (out.absolute(), *out.absolute().parents) if os.path.lexists(path))
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".unfinished-", dir=there))
    except OSError as error:
        raise ManifestError(
            f"{option} {out}: expected a directory that can be written, found {there}: {error.strerror}; name another"
        ) from error


def check_writable_file(out: Path, option: str = "--out") -> None:
    """Check that a file can be written, by `check_writable` of its directory.

    Raises:
        ManifestError: the path is a directory, or writing there is not allowed.
    """
    if out.is_dir():
        raise ManifestError(f"{option}: expected the name of a file to write, found the directory {out}; add a name")
    check_writable(out.parent, option)


def check_overwritable(out: Path, subsets: Iterable[str]) -> None:
    """Check that an existing data directory has only these subsets, and only files that we wrote.

    Args:
        subsets: names of the subsets that will be written.

    Raises:
        ManifestError: there are subsets of another build, which would stay next to the new ones, or a file of the
            user's own would be overwritten.
    """
    subsets = list(subsets)
    found = {match[1] for match in map(SUBSET_FILE.fullmatch, os.listdir(out)) if match} if out.is_dir() else set()
    others = sorted(found - set(subsets))
    if others:
        raise ManifestError(
            f"--out {out}: expected no subsets but {', '.join(subsets)}, found {', '.join(others)}, of another build; "
            "name another --out, or first remove the .tsv, .rejected.tsv, .lbl and .events of those"
        )
    for subset in subsets:
        path = out / f"{subset}.tsv"
        if path.exists() and not _is_manifest(path):
            raise ManifestError(
                f"{path}: expected a manifest that this build may replace (a root, then `path<TAB>frames`), found "
                "another file; name another --out, or move the file away"
            )
    path, header = out / LABELS_FILE, ",".join(LABELS_HEADER)
    if path.exists() and _lines(path)[0].strip() != header:
        raise ManifestError(
            f"{path}, line 1: expected {header}, as in a file that this build may replace, found another header; "
            "name another --out, or move the file away"
        )


def _lines(path: Path) -> tuple[str, str]:
    """The first two lines, "" for those that the file does not have."""
    with open(path, encoding="utf-8", errors="replace", newline="\n") as stream:
        return stream.readline(), stream.readline()


def _is_manifest(path: Path) -> bool:
    root, clip = _lines(path)
    return bool(root.strip()) and "\t" not in root and (not clip or CLIP_LINE.fullmatch(clip) is not None)
