"""ESC-10 as first published (folders `001 - Dog bark` ... of .ogg files, or of decoded ones): fold1 to fold5.

The fold is the first digit of a file's name; all clips from one source are in one fold.
Source: github.com/karolpiczak/ESC-10.
"""

import argparse
import re
from pathlib import Path

from maskspec_fairseq.corpora.builder import Clip, Corpus, find_audio
from maskspec_fairseq.corpora.class_names import label_key
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import ClipLabels, Label

CLASS_FOLDER = re.compile(r"(\d{3}) - (.+)")
CLIP_NAME = re.compile(r"([1-5])-\d+-[A-Z]\.(?:ogg|wav|flac)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("audio_dir", type=Path, metavar="ESC-10")


def collect(args: argparse.Namespace) -> Corpus:
    """Sort the files into folds by their names."""
    folders: set[tuple[str, str]] = set()  # number and name
    subsets: dict[str, list[Clip]] = {f"fold{fold}": [] for fold in range(1, 6)}
    for path in find_audio(args.audio_dir):
        folder, clip = CLASS_FOLDER.fullmatch(Path(path).parent.name), CLIP_NAME.fullmatch(Path(path).name)
        if not folder or not clip:
            raise ManifestError(
                f"expected files such as `001 - Dog bark/1-100032-A.ogg` in {args.audio_dir}, found {path!r}; "
                "name the directory of ESC-10, with nothing else in it"
            )
        folders.add((folder[1], folder[2]))
        subsets[f"fold{clip[1]}"].append(Clip(path, ClipLabels([label_key(folder[2])])))
    counts = [len(clips) for clips in subsets.values()]
    if counts != [80] * 5 or len(folders) != 10:
        print(f"note: ESC-10 has 10 classes and 5 folds of 80 clips, found {len(folders)} and {counts}")
    return Corpus(args.audio_dir, subsets, [Label(label_key(name), name) for _, name in sorted(folders)])
