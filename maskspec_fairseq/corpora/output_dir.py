"""Check, before the work, that a build would not spoil what is in its directory."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import LABELS_FILE, LABELS_HEADER

SUBSET_FILE = re.compile(r"([^.].*?)(?:\.rejected)?\.(?:tsv|lbl|events)")
CLIP_LINE = re.compile(r"[^\t]+\t\d+\n?")


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
