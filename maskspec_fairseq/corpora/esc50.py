"""ESC-50 (`audio/`, `meta/esc50.csv`): fold1 to fold5.

Test on one fold and train on the other four. Source: github.com/karolpiczak/ESC-50.
"""

import argparse
from pathlib import Path

from maskspec_fairseq.corpora.builder import Corpus, find_audio
from maskspec_fairseq.corpora.published_lists import Listed, add_listed_clip, check_file, match_files, read_rows
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import ClipLabels, Label

COLUMNS = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("audio_dir", type=Path, metavar="ESC-50-master")
    parser.add_argument("--esc10-only", action="store_true", help="only the ten classes of ESC-10")


def collect(args: argparse.Namespace) -> Corpus:
    """Read the table and match the files."""
    listed: Listed = {f"fold{fold}": {} for fold in range(1, 6)}
    names: dict[int, str] = {}  # target -> category
    left_out: set[str] = set()
    table = check_file(
        args.audio_dir / "meta" / "esc50.csv", "expected the unpacked ESC-50-master, and for the old ESC-10 use `esc10`"
    )
    for line, (filename, fold, target, category, esc10, source, take) in read_rows(table, COLUMNS):
        if filename != f"{fold}-{source}-{take}-{target}.wav" or f"fold{fold}" not in listed or not target.isdigit():
            raise ManifestError(
                f"{table}, line {line}: expected fold (1 to 5), src_file, take and target as in the file's name, found "
                f"{filename!r} with {fold}, {source}, {take} and {target}; take the file as it was published"
            )
        if esc10 not in ("True", "False") or names.setdefault(int(target), category) != category:
            raise ManifestError(
                f"{table}, line {line}: expected esc10 True or False and one category for a target, found {esc10!r} "
                f"and {category!r}; take the file as it was published"
            )
        if args.esc10_only and esc10 == "False":
            left_out.add(filename)
        else:
            add_listed_clip(listed, f"fold{fold}", filename, ClipLabels([category]), f"{table}, line {line}")
    labelled = {labels.present[0] for clips in listed.values() for labels in clips.values()}
    names = {target: name for target, name in names.items() if name in labelled}
    files = {path: path for path in find_audio(args.audio_dir / "audio") if path not in left_out}
    num_classes, clips = (10, 80) if args.esc10_only else (50, 400)
    if len(names) != num_classes:
        print(f"note: expected {num_classes} classes in {table}, found {len(names)}")
    picked, missing = match_files("ESC-50", dict.fromkeys(listed, clips), listed, files)
    vocabulary = [Label(names[target], names[target].replace("_", " ")) for target in sorted(names)]
    return Corpus(args.audio_dir / "audio", picked, vocabulary, missing)
