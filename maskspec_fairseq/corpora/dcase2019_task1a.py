"""DCASE2019 Task 1A, the development set of TAU Urban Acoustic Scenes 2019: train and evaluate of its only fold.

Source: zenodo.org/records/2589280.
"""

import argparse
from pathlib import Path

from maskspec_fairseq.corpora.builder import Corpus, find_audio
from maskspec_fairseq.corpora.published_lists import Listed, add_listed_clip, check_file, match_files, read_rows
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import ClipLabels, Label

SCENES = (
    "airport", "bus", "metro", "metro_station", "park",
    "public_square", "shopping_mall", "street_pedestrian", "street_traffic", "tram",
)  # fmt: skip
OFFICIAL = {"train": 9185, "evaluate": 4185}
UNLISTED = 1030  # clips of the archive in neither list, so `train` is not everything that is not in `evaluate`


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("audio_dir", type=Path, metavar="TAU-urban-acoustic-scenes-2019-development")


def collect(args: argparse.Namespace) -> Corpus:
    """Read the two lists and match the files."""
    listed: Listed = {subset: {} for subset in OFFICIAL}
    for subset in OFFICIAL:
        table = check_file(
            args.audio_dir / "evaluation_setup" / f"fold1_{subset}.csv",
            "unpack TAU-urban-acoustic-scenes-2019-development.meta.zip there",
        )
        for line, (filename, scene) in read_rows(table, ["filename", "scene_label"], delimiter="\t"):
            if scene not in SCENES or Path(filename).name.split("-")[0] != scene:
                raise ManifestError(
                    f"{table}, line {line}: expected one of {', '.join(SCENES)}, the same as the file's name begins "
                    f"with, found {scene!r} for {filename!r}; take the file as it was published"
                )
            add_listed_clip(listed, subset, filename, ClipLabels([scene]), f"{table}, line {line}")
    files = {f"audio/{path}": f"audio/{path}" for path in find_audio(args.audio_dir / "audio")}
    picked, missing = match_files("DCASE2019 Task 1A", OFFICIAL, listed, files, UNLISTED)
    vocabulary = [Label(scene, scene.replace("_", " ")) for scene in SCENES]
    return Corpus(args.audio_dir, picked, vocabulary, missing)
