"""Join subsets of data directories into one train and one valid, without labels, to pretrain on several corpora."""

import argparse
import math
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from maskspec_fairseq.audio.packs import real_path
from maskspec_fairseq.audio.pieces import split_piece
from maskspec_fairseq.corpora.builder import Clip, Corpus
from maskspec_fairseq.corpora.overlaps import Span, shared_frames
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.manifest import read_manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for subset in ("train", "valid"):
        parser.add_argument(
            f"--{subset}",
            nargs="+",
            required=True,
            metavar="DATA_DIR:SUBSET[,SUBSET]",
            help=f"the subsets to join into {subset}",
        )


def files_of(sources: list[str], out: Path) -> list[str]:
    """Absolute paths of the clips of some sources, in order.

    Args:
        sources: such as `data/esc10:fold1,fold2`.
        out: the data directory that will be written.

    Raises:
        ManifestError: a source is malformed or would be replaced by the result, or a file is there twice.
    """
    paths = []
    for source in sources:
        directory, colon, subsets = source.rpartition(":")
        if not colon or not directory or not subsets:
            raise ManifestError(f"expected DATA_DIR:SUBSET[,SUBSET], found {source!r}")
        if os.path.realpath(directory) == os.path.realpath(out):
            raise ManifestError(
                f"expected --out other than the sources, whose manifests and labels it would replace, found {out}; "
                "name another --out"
            )
        for subset in subsets.split(","):
            manifest = read_manifest(os.path.join(directory, f"{subset}.tsv"))
            paths += [os.path.abspath(manifest.full_path(index)) for index in range(len(manifest))]
    twice = [span for span, count in Counter(map(span_of, paths)).items() if count > 1]
    if twice:
        raise ManifestError(
            f"expected every file once in {' '.join(sources)}, found {len(twice)} more than once, {min(twice)[0]} "
            "among them; name every source once, and of those that share files only one"
        )
    return paths


def span_of(path: str) -> tuple[str, float, float]:
    """The file with its links resolved, the first frame of it and the one after the last; infinite of a whole file."""
    piece = split_piece(path)
    if piece is None:
        return real_path(path), 0, math.inf
    return real_path(piece.path), piece.first, piece.first + piece.frames


def shared_files(train: Sequence[str], valid: Sequence[str]) -> list[str]:
    """The files of which both sides have the same frames."""
    spans: dict[str, list[Span]] = defaultdict(list)
    for side, paths in enumerate((train, valid)):
        for number, (file, first, end) in enumerate(map(span_of, paths)):
            spans[file].append(Span(first, end, side, number))
    return sorted(file for file, of_file in spans.items() if any(shared_frames(of_file)))


def collect(args: argparse.Namespace) -> Corpus:
    """Join the subsets.

    Raises:
        ManifestError: see `files_of`, or frames of a file are in both train and valid.
    """
    train, valid = files_of(args.train, args.out), files_of(args.valid, args.out)
    shared = shared_files(train, valid)
    if shared:
        raise ManifestError(
            f"expected no file in both train and valid, found {len(shared)} of which both have frames, "
            f"{shared[0]} first"
        )
    root = os.path.commonpath([os.path.dirname(path) for path in train + valid])
    subsets = {"train": train, "valid": valid}
    return Corpus(
        Path(root), {name: [Clip(os.path.relpath(path, root)) for path in paths] for name, paths in subsets.items()}
    )
