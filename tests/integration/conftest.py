"""What several files of real runs share: one pretraining, and labels for the same clips."""

import json
import shutil

import pytest

from maskspec_fairseq.data_dir.labels import ClipLabels, Label, write_labels, write_vocabulary
from maskspec_fairseq.data_dir.manifest import Manifest, read_manifest, write_manifest
from tests.integration.runs import train_by_command


@pytest.fixture(scope="session")
def whole_run(data_dir, tmp_path_factory):
    """Eight epochs of the demo recipe in a new interpreter, its run directory and its output."""
    run_dir = tmp_path_factory.mktemp("whole")
    return run_dir, train_by_command(
        data_dir, run_dir, "optimization.max_epoch=8", "common.tensorboard_logdir=tensorboard"
    )


@pytest.fixture(scope="session")
def labelled_dir(data_dir, tmp_path_factory):
    """The clips as train and valid and as two folds, labelled as low, middle or high by their pitch."""
    directory = tmp_path_factory.mktemp("labelled") / "data"
    shutil.copytree(data_dir, directory, ignore=shutil.ignore_patterns("audio"))
    train_clips, valid_clips = (read_manifest(directory / f"{name}.tsv") for name in ("train", "valid"))
    subsets = {"train": train_clips, "valid": valid_clips}
    for fold in (1, 2):
        paths, frames = list(train_clips.paths)[fold - 1 :: 2], train_clips.frames[fold - 1 :: 2]
        subsets[f"fold{fold}"] = Manifest(train_clips.root, paths, frames)
    write_vocabulary(directory / "labels.csv", [Label(key, key) for key in ("low", "middle", "high")])
    for name, manifest in subsets.items():
        write_manifest(directory / f"{name}.tsv", manifest)
        pitches = [7 * int(path[5:7]) % 32 for path in manifest.paths]  # as in data_dir
        write_labels(directory / f"{name}.lbl", [ClipLabels([("low", "middle", "high")[p // 11]]) for p in pitches])
    statistics = json.loads((directory / "mel_stats.json").read_text())
    measured = statistics["paper"]["subsets"]
    measured.update(fold1=measured["train"], fold2=measured["train"])
    (directory / "mel_stats.json").write_text(json.dumps(statistics))
    return directory
