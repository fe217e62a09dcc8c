"""Free Spoken Digit Dataset (`recordings/{digit}_{speaker}_{n}.wav`): train, and test where n is 0 to 4; or a fold per
speaker.

Source of the split: github.com/Jakobovski/free-spoken-digit-dataset, README.
"""

import argparse
import re
from pathlib import Path

from maskspec_fairseq.corpora.builder import Clip, Corpus, find_audio
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import ClipLabels, Label

CLIP_NAME = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("audio_dir", type=Path, metavar="FSDD")
    parser.add_argument(
        "--by-speaker", action="store_true", help="a fold per speaker in place of train and test, to test on new voices"
    )


def collect(args: argparse.Namespace) -> Corpus:
    """Sort the files into subsets by their names."""
    recordings = args.audio_dir / "recordings"
    root = recordings if recordings.is_dir() else args.audio_dir
    by_name: dict[str, list[Clip]] = {"train": [], "test": []}
    by_speaker: dict[str, list[Clip]] = {}
    for path in find_audio(root):
        clip = CLIP_NAME.fullmatch(path)
        if not clip:
            raise ManifestError(
                f"expected files such as `0_george_12.wav` in {root}, found {path!r}; "
                "name the directory of FSDD, with nothing else in it"
            )
        digit, speaker, number = clip.groups()
        found = Clip(path, ClipLabels([DIGITS[int(digit)]]))
        by_name["test" if int(number) < 5 else "train"].append(found)
        by_speaker.setdefault(speaker, []).append(found)
    folds = {f"fold{fold}": by_speaker[speaker] for fold, speaker in enumerate(sorted(by_speaker), start=1)}
    counts = {name: len(clips) for name, clips in by_name.items()}
    if counts != {"train": 2700, "test": 300}:
        print(f"note: FSDD v1.0.10 has 2700 training and 300 test clips, found {counts}")
    return Corpus(root, folds if args.by_speaker else by_name, [Label(digit, digit) for digit in DIGITS])
