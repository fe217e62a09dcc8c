"""maskspec-build stats."""

import json
import os

from maskspec_fairseq.data_dir.manifest import read_manifest
from maskspec_fairseq.modules.front_ends import FRONT_ENDS
from tests.factories import run_build


def test_stats_are_those_of_the_training_subset(tree, tmp_path):
    out = tmp_path / "data"
    run_build("folder", tree, "--out", out)
    assert list(json.loads((out / "mel_stats.json").read_text())) == ["paper"]
    run_build("stats", out, "--front-end", "reference", "--clips", 5, "--channel", "left")
    entries = json.loads((out / "mel_stats.json").read_text())
    assert entries["paper"]["subsets"]["train"]["clips"] == len(read_manifest(out / "train.tsv"))
    measured = entries["reference"]["subsets"]["train"]
    assert measured["clips"] == 5 and entries["reference"]["channel"] == "left"
    assert entries["reference"]["front_end"]["f_max"] == 15000.0
    assert len(measured["mean"]) == len(measured["std"]) == 128


def test_stats_knows_every_front_end():
    assert "{" + ",".join(sorted(FRONT_ENDS)) + "}" in run_build("stats", "--help").stdout


def test_statistics_that_cannot_be_measured_are_refused(tree, tmp_path):
    out = tmp_path / "data"
    run_build("folder", tree, "--out", out, "--stats-clips", 0)
    done = run_build("stats", out, "--sample-rate", 16000, code=2)
    assert "expected a sample rate of at least 28000 Hz for the mel filters" in done.stderr
    gone = read_manifest(out / "train.tsv").full_path(3)
    os.unlink(gone)
    done = run_build("stats", out, code=2)  # 1 of 15 is over 5 %
    assert f"left out of the statistics: {gone}" in done.stderr
    assert "14 clips of train, 1 left out" in done.stdout
