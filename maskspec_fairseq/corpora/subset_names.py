"""The words by which folders and tables of users name subsets."""

import os
import re
from typing import Optional

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


def split_subset(argument: str) -> tuple[str, str]:
    """The two parts of an argument `[SUBSET=]FILE`; the first is "" if there is none, or if a file has that name."""
    subset, equals, file = argument.partition("=")
    return (subset, file) if equals and not os.path.exists(argument) else ("", argument)


def subset_order(subset: str) -> int:
    """A sort key of what `subset_of` returns: train, valid, test, then folds by their numbers."""
    names = list(dict.fromkeys(SUBSETS.values()))
    return names.index(subset) if subset in names else len(names) + int(subset[len("fold") :])
