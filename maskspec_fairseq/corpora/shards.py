"""What the builders of packs share: SUBSET=FILE arguments, labels as packs hold them, and a part to hold out."""

import argparse
import glob
import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Optional

from maskspec_fairseq.corpora import held_out, pieces
from maskspec_fairseq.corpora.builder import Clip, Corpus
from maskspec_fairseq.corpora.class_names import label_key, normal_form, vocabulary_of
from maskspec_fairseq.corpora.published_lists import check_file
from maskspec_fairseq.corpora.subset_names import split_subset
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import ClipLabels, problem_of_key

UNNAMED = ""  # the subset of files that no SUBSET= stands before


def add_shard_arguments(parser: argparse.ArgumentParser, example: str) -> None:
    """Add the arguments of shards, and what to hold out of those without a subset."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="[SUBSET=]FILES",
        help=f"such as {example}; FILES may be a quoted pattern. Without SUBSET= a part of the clips is held out",
    )
    held_out.add_valid_fraction(parser)
    pieces.add_arguments(parser)


def read_arguments(arguments: Sequence[str], extensions: Sequence[str], example: str) -> list[tuple[str, str]]:
    """Split [SUBSET=]FILES arguments into subsets, which may be `UNNAMED`, and absolute paths.

    Args:
        extensions: of the files.
        example: of an argument, for messages.

    Raises:
        ManifestError: a subset cannot be the name of a file, only some files have one, or a file does not exist, has
            another extension, or is named twice.
    """
    named: list[tuple[str, str]] = []
    for argument in arguments:
        subset, files = split_subset(argument, example)
        for file in sorted(glob.glob(files)) or [files]:
            if not file.lower().endswith(tuple(extensions)):
                raise ManifestError(
                    f"expected a file that ends in {', '.join(extensions)}, by which paths in packs are known, found "
                    f"{file!r}; rename it, or unpack it if it is compressed"
                )
            path = os.path.abspath(check_file(Path(file), f"name files as in {example}"))
            named.append((subset, path))
    seen: dict[str, str] = {}
    for subset, path in named:
        if seen.setdefault(os.path.realpath(path), path) is not path:
            raise ManifestError(f"expected every file once, found {path!r} twice; leave one of them out")
        if (subset == UNNAMED) != (named[0][0] == UNNAMED):
            raise ManifestError(f"expected SUBSET= before all files or none, found none before {path!r}; add {example}")
    return named


def as_labels(value: Any, where: str) -> list[str]:
    """The labels that a value stands for: a text, a whole number, a list of them, or None for no label.

    Args:
        where: the clip, for messages.

    Raises:
        ManifestError: the value is something else.
    """
    values = value if isinstance(value, list) else [] if value is None else [value]
    if any(isinstance(label, bool) or not isinstance(label, (str, int)) or label == "" for label in values):
        raise ManifestError(
            f"{where}: expected a label, which is a text or a whole number, or a list of labels, found {value!r:.200}; "
            "name another field with --labels-from"
        )
    return list(dict.fromkeys(map(str, values)))


def sorted_names(names: Iterable[str]) -> list[str]:
    """Names of classes in the order of their outputs: by number if all of them are numbers, and 01 before 1."""
    ordered = sorted(set(names))
    return sorted(ordered, key=int) if all(name.isdecimal() for name in ordered) else ordered


def key_of(name: str) -> str:
    """The key of a class: its name, such as one of AudioSet's, unless a label file cannot hold that."""
    return label_key(name) if problem_of_key(name) else name


def make_corpus(
    root: str,
    subsets: dict[str, list[Clip]],
    names: Optional[Sequence[str]],
    args: argparse.Namespace,
    missing: Optional[dict[str, list[str]]] = None,
) -> Corpus:
    """The corpus of clips whose labels are still names of classes.

    Args:
        names: of the classes, in order; None if there are no labels.
        args: those of `add_shard_arguments`.

    Raises:
        ManifestError: see `split_unnamed`.
    """
    vocabulary = vocabulary_of(names or (), key_of)
    shared: dict[tuple[str, ...], ClipLabels] = {}  # one object for all clips with the same labels
    for clip in itertools.chain.from_iterable(subsets.values()):
        if clip.labels is not None:
            keys = tuple(vocabulary[normal_form(name)].key for name in clip.labels.present)
            clip.labels = shared.setdefault(keys, ClipLabels(list(dict.fromkeys(keys))))
    classes = None if names is None else list(dict.fromkeys(vocabulary[normal_form(name)] for name in names))
    subsets = split_unnamed(subsets, args.valid_fraction)
    return Corpus(Path(root), subsets, classes, missing or {}, pieces.cutting_of(args))


def split_unnamed(subsets: dict[str, list[Clip]], valid_fraction: float) -> dict[str, list[Clip]]:
    """Split the clips of files without a subset into train and valid; others stay.

    Raises:
        ManifestError: see `held_out.hold_out`.
    """
    if UNNAMED not in subsets:
        return subsets
    clips = subsets[UNNAMED]
    valid = held_out.hold_out({clip.path: clip.labels.present if clip.labels else () for clip in clips}, valid_fraction)
    return {
        "train": [clip for clip in clips if clip.path not in valid],
        "valid": [clip for clip in clips if clip.path in valid],
    }
