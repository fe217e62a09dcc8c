"""OpenMIC-2018 (20 instruments, partially labelled): train and test of its only partition.

For each clip some instruments were judged to be present or absent; nothing is known about the others.
Source: zenodo.org/records/1432913 and its notebook, github.com/cosmir/openmic-2018.
"""

import argparse
import json
import re
from pathlib import Path

from maskspec_fairseq.corpora.builder import Corpus, find_audio
from maskspec_fairseq.corpora.published_lists import (
    Listed,
    add_listed_clip,
    check_file,
    index_files,
    match_files,
    read_rows,
    reading,
)
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import ClipLabels, Label

OFFICIAL = {"train": 14915, "test": 5085}
NUM_LABELS = 20
COLUMNS = ["sample_key", "instrument", "relevance", "num_responses"]
CURE = "expected the unpacked openmic-2018-v1.0.0.tgz"
SAMPLE_KEY = re.compile(r"\d{6}_\d+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("audio_dir", type=Path, metavar="openmic-2018")


def read_instruments(path: Path) -> list[str]:
    """The classes in the order of class-map.json.

    Raises:
        ManifestError: the file is not a map from names to numbers that count from 0, or see `reading`.
    """
    with reading(path):
        text = path.read_text(encoding="utf-8")
    try:
        numbers = json.loads(text)
        names = sorted(numbers, key=numbers.get)
        whole = [numbers[name] for name in names] == list(range(len(names)))
    except (ValueError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise ManifestError(f"{path}: expected instruments with numbers that count from 0; take the published file")
    if len(names) != NUM_LABELS:
        print(f"note: OpenMIC-2018 has {NUM_LABELS} classes, found {len(names)} in {path}")
    return names


def read_relevances(path: Path, instruments: list[str]) -> dict[str, ClipLabels]:
    """Read which instruments are present in a clip and which are absent, in the order of the classes.

    A relevance of 0.5 and above means present, as in the official notebook. Others require more than 0.5, so the number
    of judgements at exactly 0.5 is printed.

    Returns:
        Key of the clip -> labels.

    Raises:
        ManifestError: an instrument is unknown or judged twice for one clip, or a relevance is not from 0 to 1.
    """
    judged: dict[str, dict[str, float]] = {}
    for line, (key, instrument, text, _) in read_rows(path, COLUMNS):
        try:
            relevance = float(text)
        except ValueError:
            relevance = -1.0
        of_clip = judged.setdefault(key, {})
        if instrument not in instruments or instrument in of_clip or not 0 <= relevance <= 1:
            raise ManifestError(
                f"{path}, line {line}: expected an instrument of class-map.json, once per clip, with a relevance from "
                f"0 to 1, found {key},{instrument},{text}; take the file as it was published"
            )
        of_clip[instrument] = relevance
    values = [relevance for of_clip in judged.values() for relevance in of_clip.values()]
    halves = sum(relevance == 0.5 for relevance in values)
    print(f"{halves} of {len(values)} judgements have a relevance of exactly 0.5 and count as present")
    labels = {}
    for key, of_clip in judged.items():
        present = [name for name in instruments if of_clip.get(name, -1.0) >= 0.5]
        labels[key] = ClipLabels(present, [name for name in instruments if 0 <= of_clip.get(name, -1.0) < 0.5])
    return labels


def collect(args: argparse.Namespace) -> Corpus:
    """Read the labels and the partition, and match the files."""
    instruments = read_instruments(check_file(args.audio_dir / "class-map.json", CURE))
    labels = read_relevances(check_file(args.audio_dir / "openmic-2018-aggregated-labels.csv", CURE), instruments)
    listed: Listed = {subset: {} for subset in OFFICIAL}
    unlabelled = []
    for subset in OFFICIAL:
        partition = check_file(args.audio_dir / "partitions" / f"split01_{subset}.csv", CURE)
        for line, (key,) in read_rows(partition, ["sample_key"], header=False):
            if not SAMPLE_KEY.fullmatch(key):
                raise ManifestError(
                    f"{partition}, line {line}: expected a key such as 000046_3840 and no header, found {key!r}; "
                    "take the file as it was published"
                )
            add_listed_clip(listed, subset, key, labels.get(key) or ClipLabels([]), f"{partition}, line {line}")
            unlabelled += [] if key in labels else [key]
    unlisted = [key for key in labels if not any(key in clips for clips in listed.values())]
    for keys, what in ((unlabelled, "in the partition have no label"), (unlisted, "with labels are in no partition")):
        if keys:
            print(f"note: {len(keys)} clips {what}, {keys[0]!r} first")
    audio = args.audio_dir / "audio"
    files, copies = index_files(find_audio(audio), lambda path: Path(path).stem)
    vocabulary = [Label(name, name.replace("_", " ")) for name in instruments]
    picked, missing = match_files("OpenMIC-2018", OFFICIAL, listed, files, copies=copies)
    return Corpus(audio, picked, vocabulary, missing)
