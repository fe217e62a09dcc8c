"""Any tree of audio files, split into train and valid by file name."""

import argparse
import hashlib
import re
from pathlib import Path
from typing import Optional

from maskspec_fairseq.argument_types import fraction
from maskspec_fairseq.corpora import pieces
from maskspec_fairseq.corpora.builder import Clip, Corpus, find_audio
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import ClipLabels, Label


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("audio_dir", type=Path, metavar="AUDIO_DIR")
    parser.add_argument(
        "--valid-fraction",
        type=fraction,
        default=0.05,
        help="fraction of the files to hold out as valid, at least one; of the end of a single file (default: 0.05)",
    )
    pieces.add_arguments(parser)
    parser.add_argument("--labels-from-parent", action="store_true", help="the folder of a file is its class")


def label_key(name: str) -> str:
    """A name in the form that label files can hold: lower case, without spaces and commas."""
    return re.sub(r"\W+", "_", name.casefold()).strip("_")


def by_hash(path: str) -> bytes:
    """A sort key that depends only on the name."""
    return hashlib.sha1(path.encode("utf-8", "surrogateescape")).digest()


def collect(args: argparse.Namespace) -> Corpus:
    """List the files and split them. The split is the same on every machine, and valid has at least one file.

    Of a single file the end is held out.

    Raises:
        ManifestError: there is a single file that is not to be cut, a file is in no class, or two classes would have
            the same key.
    """
    paths = find_audio(args.audio_dir)
    cutting = pieces.cutting_of(args)
    if len(paths) < 2 and cutting is None:
        raise ManifestError(
            f"expected at least two files below {args.audio_dir}, one to hold out, found {paths}; leave out "
            "--segment-sec 0, so that the end of the file is held out"
        )
    num_valid = min(len(paths) - 1, max(1, round(args.valid_fraction * len(paths))))
    valid = set(sorted(paths, key=by_hash)[:num_valid])
    vocabulary: Optional[list[Label]] = None
    labels: dict[str, ClipLabels] = {}
    if args.labels_from_parent:
        top_level = [path for path in paths if "/" not in path]
        if top_level:
            raise ManifestError(
                f"--labels-from-parent: expected every file in the folder of its class, found {top_level[0]} in none"
            )
        names = sorted({Path(path).parent.name for path in paths})
        keys = [label_key(name) for name in names]
        if len(set(keys)) < len(keys) or "" in keys:
            raise ManifestError(f"--labels-from-parent: expected folders whose names differ in letters, found {names}")
        vocabulary = [Label(key, name) for key, name in zip(keys, names)]
        labels = {path: ClipLabels([label_key(Path(path).parent.name)]) for path in paths}
    subsets: dict[str, list[Clip]] = {"train": [], "valid": []}
    for path in paths:
        subsets["valid" if path in valid else "train"].append(Clip(path, labels.get(path)))
    if len(paths) == 1:
        for held_out, subset in enumerate(("train", "valid")):
            part = pieces.Part(bool(held_out), args.valid_fraction)
            subsets[subset] = [Clip(paths[0], labels.get(paths[0]), part=part)]
    return Corpus(args.audio_dir, subsets, vocabulary, cutting=cutting)
