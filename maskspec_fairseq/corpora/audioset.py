"""AudioSet (527 classes): balanced_train, unbalanced_train and eval, each if its CSV and some of its audio exist.

The audio may be anywhere below AUDIO_DIR and is named by its YouTube id of 11 characters: `ID`, `ID_START`,
`ID_START_END` or `ID_START-END` with times in seconds (a start alone may be in milliseconds), each with or without a
`Y` in front. Or AUDIO_DIR has the Parquet files of Hugging Face's copy in bal_train, unbal_train and eval, whose
labels are in them.
Source: research.google.com/audioset/download.html, huggingface.co/datasets/agkphysics/AudioSet.
"""

import argparse
import os
import re
from pathlib import Path
from typing import Optional

from maskspec_fairseq.corpora.builder import Clip, Corpus, find_audio
from maskspec_fairseq.corpora.parquet import open_parquet, read_column
from maskspec_fairseq.corpora.published_lists import (
    Listed,
    check_file,
    index_files,
    match_files,
    read_rows,
    reading,
)
from maskspec_fairseq.corpora.shards import as_labels
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import ClipLabels, Label, read_vocabulary

# subset -> its CSV, without `.csv` or `_part00.csv`, and the number of clips in it
SUBSETS = {
    "balanced_train": ("balanced_train_segments", 22160),
    "unbalanced_train": ("unbalanced_train_segments", 2041789),
    "eval": ("eval_segments", 20371),
}
PARQUET_FOLDERS = {"balanced_train": "bal_train", "unbalanced_train": "unbal_train", "eval": "eval"}
NUM_LABELS = 527
COLUMNS = ["YTID", "start_seconds", "end_seconds", "positive_labels"]
LABELS_CSV = "class_labels_indices.csv"
CSV_FOLDERS = ("", "metadata", "unbalanced_partial_csvs", "metadata/unbalanced_partial_csvs")
CURE = "get it from research.google.com/audioset/download.html, or say where it is with --csv-dir"
# Unambiguous although an id may begin with Y, - or _ and contain a _: an id is followed by the end of the name or by a
# `_` and a digit, and a `Y` in front moves that place by one.
CLIP_NAME = re.compile(r"Y?([\w-]{11})(?:_(\d+(?:\.\d+)?)(?:[_-]\d+(?:\.\d+)?)?)?", re.ASCII)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("audio_dir", type=Path, metavar="AUDIO_DIR")
    parser.add_argument("--csv-dir", type=Path, help=f"the three CSVs and {LABELS_CSV} (default: AUDIO_DIR)")


def segment_files(csv_dir: Path, stem: str) -> list[Path]:
    """The CSV of a subset, or the partial CSVs that it was split into."""
    folders = [csv_dir / name for name in CSV_FOLDERS]
    for folder in folders:
        if (folder / f"{stem}.csv").is_file():
            return [folder / f"{stem}.csv"]
    return sorted({path for folder in folders for path in folder.glob(f"{stem}_part[0-9]*.csv")})


def read_segments(paths: list[Path], known: set[str], starts: dict[str, float]) -> dict[str, ClipLabels]:
    """Read the CSVs of a subset. Clips with the same labels share one object: there are two million clips.

    Args:
        known: the keys of the vocabulary.
        starts: id -> start of the segment, s, of all subsets; the clips of this one are added.

    Returns:
        Id -> labels.

    Raises:
        ManifestError: a line is not a segment, an id is there twice, or a label is not in the vocabulary.
    """
    clips: dict[str, ClipLabels] = {}
    shared: dict[str, ClipLabels] = {}
    seconds: dict[str, float] = {}
    for path in paths:
        for line, (ytid, start, _, mids) in read_rows(path, COLUMNS, header=False):
            if len(ytid) != 11 or ytid in starts:
                expected = "an id of 11 characters" if len(ytid) != 11 else "every id once in all the CSVs"
                raise ManifestError(f"{path}, line {line}: expected {expected}, found {ytid!r}; correct the line")
            if start not in seconds:
                seconds[start] = _number(start, f"{path}, line {line}")
            starts[ytid] = seconds[start]
            if mids not in shared:
                labels = [mid for mid in mids.split(",") if mid]
                unknown = [mid for mid in labels if mid not in known]
                if unknown or not labels:
                    raise ManifestError(
                        f"{path}, line {line}: expected labels of {LABELS_CSV}, found {', '.join(unknown) or 'none'}; "
                        "take both files from one release"
                    )
                shared[mids] = ClipLabels(labels)
            clips[ytid] = shared[mids]
    return clips


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ManifestError(f"{where}: expected a start in seconds, found {text!r}; correct the line") from None


def key_of(path: str, starts: dict[str, float]) -> Optional[str]:
    """The YouTube id in a path, None if there is none.

    If the name has another start than the CSVs, it is another segment of the video: the key is the id and that start.
    """
    name = CLIP_NAME.fullmatch(os.path.splitext(os.path.basename(path))[0])
    if not name:
        return None
    ytid, start = name.groups()
    if start is not None and ytid in starts:
        same = abs(float(start) - starts[ytid]) < 1 or float(start) / 1000 == starts[ytid]
        return ytid if same else f"{ytid}_{start}"
    return ytid


def parquet_files(audio_dir: Path) -> dict[str, list[Path]]:
    """The Parquet files of each subset that has some, in AUDIO_DIR or in `data` below it."""
    for folder in (audio_dir, audio_dir / "data"):
        files = {subset: sorted(folder.glob(f"{name}/*.parquet")) for subset, name in PARQUET_FOLDERS.items()}
        if any(files.values()):
            return {subset: paths for subset, paths in files.items() if paths}
    return {}


def collect_parquet(audio_dir: Path, files: dict[str, list[Path]], vocabulary: Optional[list[Label]]) -> Corpus:
    """The clips of Parquet files, which hold their own labels.

    Args:
        vocabulary: the classes; None for those of the files, in the order of their keys.

    Raises:
        ManifestError: a file lacks a column, or a label is not in the vocabulary.
        AudioError: a file cannot be read.
    """
    names = {label.key: label.name for label in vocabulary or ()}
    found: dict[str, str] = {}
    shared: dict[tuple[str, ...], ClipLabels] = {}  # there are two million clips
    owners: set[str] = set()
    subsets: dict[str, list[Clip]] = {}
    for subset, paths in files.items():
        clips, copies = subsets.setdefault(subset, []), []
        for path in paths:
            pack = open_parquet(str(path))
            columns = [read_column(str(path), pack, name) for name in ("video_id", "labels", "human_labels")]
            for row, (video_id, mids, human) in enumerate(zip(*columns)):
                place = f"{path.relative_to(audio_dir)}:{row}"
                mids, human = (as_labels(value, f"{path}, row {row}") for value in (mids, human))
                if not mids or (vocabulary and not names.keys() >= set(mids)):
                    raise ManifestError(
                        f"{path}, row {row}: expected labels of {LABELS_CSV}, found {', '.join(mids) or 'none'}; take "
                        "both files from one release"
                    )
                ytid = str(video_id)
                if ytid in owners:
                    copies.append(place)
                    continue
                owners.add(ytid)
                found.update(zip(mids, human if len(human) == len(mids) else mids))
                clips.append(Clip(place, shared.setdefault(tuple(mids), ClipLabels(mids))))
        copied = f", {len(copies)} further copies of a clip left out, {copies[0]!r} first" if copies else ""
        print(f"{subset}: {len(clips)} found of {SUBSETS[subset][1]} officially{copied}")
    if vocabulary is None:
        print(f"note: no {LABELS_CSV}, so the {len(found)} classes are in the order of their keys; --csv-dir has it")
        vocabulary = [Label(mid, found[mid]) for mid in sorted(found)]
    return Corpus(audio_dir, subsets, vocabulary)


def collect(args: argparse.Namespace) -> Corpus:
    """Read the CSVs and match the files; subsets without a CSV or without audio are left out.

    Raises:
        ManifestError: a list is missing or not as it was published, no listed clip exists, or see `collect_parquet`.
        AudioError: see `collect_parquet`.
    """
    csv_dir = args.csv_dir or args.audio_dir
    folders = [csv_dir / name for name in CSV_FOLDERS]
    labels_csv = next((d / LABELS_CSV for d in folders if (d / LABELS_CSV).is_file()), csv_dir / LABELS_CSV)
    shards = parquet_files(args.audio_dir)
    if shards and not labels_csv.is_file():
        return collect_parquet(args.audio_dir, shards, None)
    with reading(check_file(labels_csv, CURE)):
        vocabulary = read_vocabulary(labels_csv)
    if len(vocabulary) != NUM_LABELS:
        print(f"note: AudioSet has {NUM_LABELS} classes, found {len(vocabulary)} in {labels_csv}")
    if shards:
        return collect_parquet(args.audio_dir, shards, vocabulary)
    known = {label.key for label in vocabulary}
    starts: dict[str, float] = {}
    listed: Listed = {}
    for subset, (stem, _) in SUBSETS.items():
        paths = segment_files(csv_dir, stem)
        if paths:
            listed[subset] = read_segments(paths, known, starts)
        else:
            print(f"note: no {stem}.csv in {csv_dir}, so there is no subset {subset}")
    if not listed:
        check_file(csv_dir / "balanced_train_segments.csv", CURE)
    files, copies = index_files(find_audio(args.audio_dir), lambda path: key_of(path, starts))
    official = {subset: SUBSETS[subset][1] for subset in listed}
    picked, missing = match_files("AudioSet", official, listed, files, copies=copies)
    for subset in [subset for subset, clips in picked.items() if not clips]:
        print(f"note: found no clip of {subset}, so there is no subset {subset}")
        del picked[subset], missing[subset]
    return Corpus(args.audio_dir, picked, vocabulary, missing)
