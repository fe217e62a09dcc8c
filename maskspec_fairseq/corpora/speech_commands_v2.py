"""Speech Commands v0.02 (35 words): train, validation and test by its lists, or by its hash if there are none.

Source: arXiv:1804.03209, section 7.1; the README of the archive.
"""

import argparse
import hashlib
import re
from pathlib import Path

from maskspec_fairseq.corpora.builder import Corpus, find_audio
from maskspec_fairseq.corpora.published_lists import Listed, match_files, read_rows
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import ClipLabels, Label

WORDS = (
    "backward bed bird cat dog down eight five follow forward four go happy house learn left marvin nine no off on one "
    "right seven sheila six stop three tree two up visual wow yes zero"
).split()
OFFICIAL = {"train": 84843, "validation": 9981, "test": 11005}
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
NOISE = "_background_noise_"
CLIP_PATH = re.compile(rf"({'|'.join(WORDS)})/([0-9a-f]+)_nohash_\d+\.wav")
LARGEST_HASH = 2**27 - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("audio_dir", type=Path, metavar="SPEECH_COMMANDS")


def subset_of(speaker: str) -> str:
    """The subset of all recordings of a speaker; a tenth of the speakers is in validation and a tenth in test."""
    number = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (LARGEST_HASH + 1)
    percent = number * (100 / LARGEST_HASH)
    return "validation" if percent < 10 else "test" if percent < 20 else "train"


def read_lists(directory: Path) -> dict[str, str]:
    """Read the two lists: path -> validation or test; empty if there are no lists.

    Raises:
        ManifestError: only one of the lists exists, one is empty, a line is not a clip, or a clip is in both.
    """
    there = [name for name in LISTS.values() if (directory / name).is_file()]
    if len(there) == 1:
        raise ManifestError(
            f"expected both {' and '.join(LISTS.values())} in {directory}, found {there[0]} alone; "
            "add the other one, or remove it to split by the official hash"
        )
    listed: dict[str, str] = {}
    for subset, name in LISTS.items() if there else ():
        for line, (path,) in read_rows(directory / name, ["word/file.wav"], header=False):
            if not CLIP_PATH.fullmatch(path) or listed.setdefault(path, subset) != subset:
                raise ManifestError(
                    f"{directory / name}, line {line}: expected a clip such as `bed/0c540988_nohash_0.wav`, in one "
                    f"of the two lists, found {path!r}; take the lists as they were published"
                )
        if subset not in listed.values():
            raise ManifestError(
                f"{directory / name}, line 1: expected clips such as `bed/0c540988_nohash_0.wav`, found no line; take "
                "the lists as they were published, or remove both to split by the official hash"
            )
    return listed


def collect(args: argparse.Namespace) -> Corpus:
    """Read the lists and match the files.

    Raises:
        ManifestError: see `read_lists`, or a file is not a clip of this archive.
    """
    by_list = read_lists(args.audio_dir)
    listed: Listed = {subset: {} for subset in OFFICIAL}
    for path, subset in by_list.items():
        listed[subset][path] = ClipLabels([path.split("/")[0]])
    files, disagree = {}, 0
    for path in find_audio(args.audio_dir):
        if path.split("/")[0] == NOISE:
            continue
        clip = CLIP_PATH.fullmatch(path)
        if not clip and (path.endswith(".wav.wav") or path.startswith(("_silence_/", "_unknown_/"))):
            raise ManifestError(
                f"expected speech_commands_v0.02.tar.gz (35 words), found {path!r} in {args.audio_dir}, which is of "
                "speech_commands_test_set_v0.02.tar.gz, the test set of another task with 12 classes; take the former"
            )
        if not clip:
            raise ManifestError(
                f"expected files such as `bed/0c540988_nohash_0.wav`, of 35 words, found {path!r} in {args.audio_dir}; "
                "name the directory that speech_commands_v0.02.tar.gz was unpacked into, with nothing else in it"
            )
        files[path] = path
        by_hash = subset_of(clip[2])
        subset = by_list.get(path, "train") if by_list else by_hash
        disagree += subset != by_hash
        listed[subset][path] = ClipLabels([clip[1]])
    if not by_list:
        print(f"note: no {' and '.join(LISTS.values())} in {args.audio_dir}, so the official hash splits")
    elif disagree:
        print(f"note: the lists and the official hash disagree on {disagree} of {len(files)} clips; the lists win")
    picked, missing = match_files("Speech Commands v0.02", OFFICIAL, listed, files)
    return Corpus(args.audio_dir, picked, [Label(word, word) for word in WORDS], missing)
