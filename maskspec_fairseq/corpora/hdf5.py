"""HDF5 files as made by PaSST and MaskSpec (mp3s) or PANNs (waveforms), read in place: nothing is unpacked.

Each SUBSET=FILE makes a subset; files with the same subset name are joined. The labels are those in the files: the bits
of a multi-hot vector (PaSST, MaskSpec), booleans (PANNs), or OpenMIC-2018's probabilities and mask. The names of the
classes are not in the files: --labels has them, in order.

Shapes: N clips, C classes.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maskspec_fairseq.audio.hdf5_pack import Hdf5Pack
from maskspec_fairseq.audio.packs import HDF5_EXTENSIONS, open_pack
from maskspec_fairseq.corpora.builder import Clip, Corpus
from maskspec_fairseq.corpora.published_lists import check_file, reading
from maskspec_fairseq.corpora.shards import UNNAMED, read_arguments
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import ClipLabels, Label, read_vocabulary

EXAMPLE = "train=balanced.hdf"
CURE = "name the class_labels_indices.csv of the corpus that is in the files"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", metavar="SUBSET=FILE", help="such as train=balanced_train_segments_mp3.hdf eval=eval.h5"
    )
    parser.add_argument(
        "--labels",
        type=Path,
        required=True,
        metavar="class_labels_indices.csv",
        help="the classes in the format of labels.csv: index,mid,display_name with a header",
    )


def read_targets(path: str, pack: Hdf5Pack, vocabulary: Sequence[Label]) -> np.ndarray:
    """Decode what a file says about each class.

    Args:
        path: of the file, for messages.
        pack: the file. Its dataset `target` is bool (N, C), packed bits uint8 (N, ceil(C / 8)), or probabilities and
            mask as floats (N, 2 C); what it says of itself is checked before it is read.
        vocabulary: the C classes.

    Returns:
        bool (N, 2, C): known to be present, and known to be absent.

    Raises:
        ManifestError: there is no target, or it does not fit the clips or the classes.
        AudioError: it cannot be read.
    """
    num_clips, num_classes = len(pack.clips), len(vocabulary)
    dataset = pack.dataset("target")
    widths = {"b": num_classes, "u": -(-num_classes // 8), "f": 2 * num_classes}
    if (
        dataset is None
        or dataset.dtype.kind not in widths
        or (dataset.dtype.kind == "u" and dataset.dtype != np.uint8)
        or dataset.ndim != 2
        or len(dataset) != num_clips
    ):
        found = "none" if dataset is None else f"{dataset.dtype} {dataset.shape}"
        raise ManifestError(
            f"{path}: expected a dataset target with a row of uint8, bool or floats for each of the {num_clips} clips, "
            f"found {found}; name another file"
        )
    target = pack.values(dataset, ...)
    kind = target.dtype.kind
    extra = kind == "u" and np.unpackbits(target, axis=1)[:, num_classes:].any()  # bits (N, 8 ceil(C / 8))
    if target.shape[1] != widths[kind] or extra:
        found = "bits of further ones" if extra else f"{target.shape[1]} values"
        raise ManifestError(
            f"{path}: expected {widths[kind]} values of {target.dtype} in a row of target for {num_classes} classes, "
            f"found {found}; {CURE}"
        )
    if kind == "f":
        probability, known = target[:, :num_classes], target[:, num_classes:] > 0.5  # each (N, C)
        halves = int((known & (probability == 0.5)).sum())
        if halves:
            print(f"note: {path}: {halves} probabilities are exactly 0.5 and count as absent, as PaSST has it")
        return np.stack([known & (probability > 0.5), known & ~(probability > 0.5)], axis=1)  # (N, 2, C)
    present = np.unpackbits(target, axis=1, count=num_classes).astype(bool) if kind == "u" else target  # (N, C)
    return np.stack([present, np.zeros_like(present)], axis=1)  # (N, 2, C)


def read_clips(root: str, path: str, vocabulary: Sequence[Label]) -> tuple[list[Clip], list[str]]:
    """The clips of a file, and the paths of the rows that were left empty. Clips with the same labels share them.

    Raises:
        ManifestError: see `read_targets`.
        AudioError: the file cannot be read, see `audio.hdf5_pack.Hdf5Pack`.
    """
    pack = open_pack(path)
    assert isinstance(pack, Hdf5Pack)  # by its extension, see `read_arguments`
    keys = [label.key for label in vocabulary]
    states = read_targets(path, pack, vocabulary)  # (N, 2, C)
    name = os.path.relpath(path, root)
    shared: dict[bytes, ClipLabels] = {}
    clips, empty = [], []
    for index, state in enumerate(states):
        if pack.is_missing(index):
            empty.append(f"{name}:{index}")
            continue
        bits = state.tobytes()
        if bits not in shared:
            shared[bits] = ClipLabels(*([keys[number] for number in np.flatnonzero(row)] for row in state))
        clips.append(Clip(f"{name}:{index}", shared[bits]))
    first = f", {empty[0]} first" if empty else ""
    print(f"{path}: {len(clips)} clips in {len(states)} rows, {len(empty)} of files that were missing{first}")
    return clips, empty


def collect(args: argparse.Namespace) -> Corpus:
    """Read the targets of the files.

    Raises:
        ManifestError: see `read_arguments` and `read_targets`.
        AudioError: a file cannot be read, see `audio.hdf5_pack.Hdf5Pack`.
    """
    with reading(check_file(args.labels, CURE)):
        vocabulary = read_vocabulary(args.labels)
    files = read_arguments(args.files, HDF5_EXTENSIONS, EXAMPLE)
    if files[0][0] == UNNAMED:
        raise ManifestError(f"expected SUBSET=FILE, such as {EXAMPLE}, found {files[0][1]!r}")
    root = os.path.commonpath([os.path.dirname(path) for _, path in files])
    subsets: dict[str, list[Clip]] = {}
    missing: dict[str, list[str]] = {}
    for subset, path in files:
        clips, empty = read_clips(root, path, vocabulary)
        subsets.setdefault(subset, []).extend(clips)
        missing.setdefault(subset, []).extend(empty)
    return Corpus(Path(root), subsets, vocabulary, missing)
