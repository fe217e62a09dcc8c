"""The words by which folders and tables of users name subsets."""

import os
import re
from typing import Optional

from maskspec_fairseq.data_dir import ManifestError

SUBSETS = {
    "train": "train", "training": "train",
    "valid": "valid", "validation": "valid", "val": "valid",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
FOLD = re.compile(r"fold[ _-]?0*([1-9]\d{0,8})", re.ASCII)


def subset_of(word: str) -> Optional[str]:
    """The subset that a word stands for, train, valid, test, fold1, fold2, ...; None for any other word."""
    fold = FOLD.fullmatch(word.lower())
    return f"fold{fold[1]}" if fold else SUBSETS.get(word.lower())


def split_subset(argument: str, example: str) -> tuple[str, str]:
    """The two parts of an argument `[SUBSET=]FILE`; the first is "" if there is none, or if a file has that name.

    Args:
        example: of an argument, for messages.

    Raises:
        ManifestError: one of the parts is empty, or the subset cannot be the name of a file.
    """
    subset, equals, file = argument.partition("=")
    if not equals or os.path.exists(argument):
        return "", argument
    if not file or not subset or subset.startswith(".") or "/" in subset:
        raise ManifestError(f"expected SUBSET=FILE, such as {example}, found {argument!r}")
    return subset, file


def subset_order(subset: str) -> int:
    """A sort key of what `subset_of` returns: train, valid, test, then folds by their numbers."""
    names = list(dict.fromkeys(SUBSETS.values()))
    return names.index(subset) if subset in names else len(names) + int(subset[len("fold") :])
