"""Choose the clips that are held out as valid, where a corpus has no subsets of its own."""

import argparse
import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Callable, Optional

from maskspec_fairseq.argument_types import fraction, pattern_with_group
from maskspec_fairseq.data_dir import ManifestError

SHOWN = 5  # classes in a note


def add_valid_fraction(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--valid-fraction",
        type=fraction,
        default=0.05,
        help="fraction of the files to hold out as valid, of each class at least one file (default: 0.05)",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_valid_fraction(parser)
    parser.add_argument(
        "--group-by",
        type=pattern_with_group,
        metavar="REGEX",
        help="files whose paths have the same first group of this pattern are held out together, for example the "
        r"recordings of one speaker: '(speaker\d+)_' (default: each file by itself)",
    )


def by_hash(name: str) -> bytes:
    """A sort key that depends only on the name."""
    return hashlib.sha1(name.encode("utf-8", "surrogateescape")).digest()


def group_files(
    paths: Sequence[str], pattern: Optional[re.Pattern[str]], root: Optional[Path] = None
) -> dict[str, list[str]]:
    """The files that are held out together: name of the group -> paths. A file without a match is a group of its own.

    Args:
        pattern: see `add_arguments`.
        root: the directory of the paths; a path that leads to the file of an earlier one is of its group.

    Raises:
        ManifestError: no path matches the pattern.
    """
    groups: dict[str, list[str]] = {}
    unmatched = []
    group_of: dict[str, str] = {}  # of each file
    for path in paths:
        match = pattern.search(path) if pattern else None
        if match is None:
            unmatched.append(path)
        name = (match and match[1]) or path
        groups.setdefault(group_of.setdefault(os.path.realpath(root / path), name) if root else name, []).append(path)
    if pattern and unmatched:
        if len(unmatched) == len(paths):
            raise ManifestError(
                f"--group-by {pattern.pattern}: expected it in the paths, found none such as {paths[0]!r}"
            )
        print(f"note: --group-by matches all but {len(unmatched)} files, {unmatched[0]!r} first; each is by itself")
    return groups


def hold_out(
    classes: Mapping[str, Sequence[str]],
    part: float,
    pattern: Optional[re.Pattern[str]] = None,
    root: Optional[Path] = None,
) -> set[str]:
    """Choose the files of valid: about `part` of each class and at least one file, never all of a class.

    Groups are taken in the order of a hash of their names as long as they fit, then for each class that has nothing the
    smallest group that does. So the choice is the same on every machine. Prints which classes could not be served.

    Args:
        classes: path -> the classes of the file, any number.
        part: fraction of the files.
        pattern, root: see `group_files`.

    Raises:
        ManifestError: see `group_files`; or nothing can be held out.
    """
    if not classes:
        raise ManifestError("expected clips, some to hold out, found none; name other files")
    groups = group_files(sorted(classes), pattern, root)

    # a file without a class is of the class "", so that unlabelled corpora are split by the same rule
    members = {name: [c for path in paths for c in classes[path] or ("",)] for name, paths in groups.items()}
    totals = Counter(c for group in members.values() for c in group)
    wanted = {c: min(total - 1, max(1, round(part * total))) for c, total in totals.items()}
    held = dict.fromkeys(totals, 0)
    chosen: set[str] = set()

    def take_if(name: str, largest: dict[str, int]) -> None:
        group = members[name]
        if all(held[c] + group.count(c) <= largest[c] for c in set(group)):
            chosen.add(name)
            for c in group:
                held[c] += 1

    ordered = sorted(groups, key=by_hash)
    for name in ordered:
        take_if(name, wanted)
    all_but_one = {c: total - 1 for c, total in totals.items()}
    for name in sorted(ordered, key=lambda name: len(groups[name])):
        if not all(held[c] for c in members[name]):
            take_if(name, all_but_one)
    if not chosen:
        raise ManifestError(
            f"expected a class with two files or groups at least, one to hold out, found a single one in each, such as "
            f"{ordered[0]!r}; add files, or name the subsets yourself"
        )
    without = [c for c in totals if not held[c]]
    if without:
        more = " ..." if len(without) > SHOWN else ""
        print(
            f"note: {len(without)} classes have a single file or group, which stays in train; nothing of them is held "
            f"out: {', '.join(without[:SHOWN])}{more}"
        )
    valid = {path for name in chosen for path in groups[name]}
    if len(valid) > 2 * part * len(classes):
        least = "each class has one at least" if any(classes.values()) else "one is held out at least"
        print(f"note: {len(valid)} of {len(classes)} files are held out, more than a fraction of {part:g}: {least}")
    return valid


def choose_valid(
    subsets: dict[str, list[str]], classes: Mapping[str, Sequence[str]], args: argparse.Namespace
) -> Optional[Callable[[list[str]], set[str]]]:
    """What chooses valid out of train, once it is known which files can be used; an empty valid is added to `subsets`.

    Args:
        subsets: name -> paths below `args.audio_dir`; changed in place.
        classes: path -> its classes.
        args: those of `add_arguments`, and `audio_dir`.

    Returns:
        `Corpus.hold_out`: None if there is no train, or a valid already.

    Raises:
        ManifestError: there are fewer than two files.
    """
    train = subsets.get("train", [])
    if not train or "valid" in subsets:
        return None
    if len(train) < 2:
        raise ManifestError(
            f"expected at least two files below {args.audio_dir}, one to hold out, found {train}; add files. "
            "Of a single long one `maskspec-build folder` without --segment-sec 0 holds out the end"
        )
    subsets["valid"] = []
    return lambda paths: hold_out(
        {path: classes[path] for path in paths}, args.valid_fraction, args.group_by, args.audio_dir
    )
