"""Any tree of audio files: its own train, valid and test, or fold1, fold2, ..., or train and valid by file name."""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePath

from maskspec_fairseq.corpora import held_out, pieces
from maskspec_fairseq.corpora.builder import Clip, Corpus, find_audio
from maskspec_fairseq.corpora.class_names import normal_form, vocabulary_of
from maskspec_fairseq.corpora.subset_names import subset_of, subset_order
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import ClipLabels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("audio_dir", type=Path, metavar="AUDIO_DIR")
    held_out.add_arguments(parser)
    pieces.add_arguments(parser)
    parser.add_argument("--labels-from-parent", action="store_true", help="the folder of a file is its class")


def given_subsets(paths: Sequence[str]) -> dict[str, str]:
    """The subsets that a tree comes with: top-level folder -> subset, none if it has no subsets of its own.

    They are taken if there is nothing else at the top level, because `train` may be a class next to `plane`: train and
    at least one of valid and test, or at least two folds.
    """
    tops = sorted({path.partition("/")[0] for path in paths})
    named = {top: subset for top in tops for subset in [subset_of(top)] if subset is not None}
    subsets = set(named.values())
    folds = {subset for subset in subsets if subset.startswith("fold")}
    if len(subsets) < 2 or not (folds == subsets or ("train" in subsets and not folds)):
        if len(subsets) > 1 and len(named) == len(tops):
            folders = ", ".join(named)
            print(f"note: {folders} are folders like any other, because there is no train next to them")
        return {}
    if len(named) < len(tops):
        other = next(top for top in tops if top not in named)
        print(
            f"note: {', '.join(named)} are taken for folders like any other, because {other!r} is next to them; "
            "move it away if they are subsets"
        )
        return {}
    print("the folders " + ", ".join(f"{top}/" for top in named) + " are taken for subsets")
    return named


def labels_from_parent(paths: Sequence[str], given: dict[str, str]) -> dict[str, str]:
    """The class of each file: path -> name of the folder that it is in.

    Raises:
        ManifestError: a file is in no folder, or in that of a subset.
    """
    classes = {}
    for path in paths:
        folder = PurePath(path).parent
        if str(folder) in (".", *given):
            raise ManifestError(
                f"--labels-from-parent: expected every file in the folder of its class, found {path} in none"
            )
        classes[path] = normal_form(folder.name)
    if len(set(classes.values())) == 1:
        print(f"note: all files are of one class, {classes[paths[0]]!r}: the class is the folder that a file is in")
    return classes


def collect(args: argparse.Namespace) -> Corpus:
    """List the files and split them, unless their folders do. valid is held out of train where there is no valid.

    Of a single file the end is held out.

    Raises:
        ManifestError: there is nothing to hold out, or a file is in no class.
    """
    paths = find_audio(args.audio_dir)
    cutting = pieces.cutting_of(args)
    given = given_subsets(paths)
    classes = labels_from_parent(paths, given) if args.labels_from_parent else {}
    vocabulary = vocabulary_of(classes.values())
    labels = {path: ClipLabels([vocabulary[name].key]) for path, name in classes.items()}
    subsets: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        subsets[given.get(path.partition("/")[0], "train")].append(path)
    clips: dict[str, list[Clip]] = {}
    choose = None
    if len(paths) == 1 and "train" in subsets and cutting is not None:
        for name in ("train", "valid"):
            part = pieces.Part(name == "valid", args.valid_fraction)
            clips[name] = [Clip(paths[0], labels.get(paths[0]), part=part)]
    else:
        of_path = {path: labels[path].present if labels else () for path in paths}
        choose = held_out.choose_valid(subsets, of_path, args)
        for name in sorted(subsets, key=subset_order):
            clips[name] = [Clip(path, labels.get(path)) for path in sorted(subsets[name])]
    vocabulary_or_none = list(vocabulary.values()) if labels else None
    return Corpus(args.audio_dir, clips, vocabulary_or_none, cutting=cutting, hold_out=choose)
