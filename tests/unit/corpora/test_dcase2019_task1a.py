"""maskspec-build dcase2019_task1a, on a miniature."""

import os

import numpy as np
import pytest
import soundfile

from maskspec_fairseq.corpora import dcase2019_task1a
from maskspec_fairseq.data_dir.labels import read_vocabulary
from tests.factories import read_subset, run_build

TRAIN = ["airport-barcelona-0-0-a.wav", "metro_station-helsinki-62-1832-a.wav", "tram-vienna-182-5524-a.wav"]
EVALUATE = ["metro-prague-1163-44094-a.wav", "airport-milan-1020-41000-a.wav"]
NEITHER = "park-milan-1200-45000-a.wav"
SCENES = (
    "airport bus metro metro_station park public_square shopping_mall street_pedestrian street_traffic tram"
).split()


def table(names):
    return "filename\tscene_label\n" + "".join(f"audio/{name}\t{name.split('-')[0]}\n" for name in names)


@pytest.fixture()
def archive(tmp_path):
    root = tmp_path / "TAU-urban-acoustic-scenes-2019-development"
    (root / "audio").mkdir(parents=True)
    for number, name in enumerate([*TRAIN, *EVALUATE, NEITHER]):
        noise = 0.1 * np.random.default_rng(number).standard_normal((4800, 2))
        soundfile.write(root / "audio" / name, noise, 48000, subtype="PCM_24")
    setup = root / "evaluation_setup"
    setup.mkdir()
    (setup / "fold1_train.csv").write_text(table(TRAIN))
    (setup / "fold1_evaluate.csv").write_text(table(EVALUATE))
    (setup / "fold1_test.csv").write_text("filename\n" + "".join(f"audio/{name}\n" for name in EVALUATE))
    return root


def run(archive, code=0):
    return run_build("dcase2019_task1a", archive, "--out", archive.parent / "data", "--stats-clips", 0, code=code)


def test_the_two_lists_are_the_subsets_and_nothing_else_is_in_them(archive, tmp_path):
    done = run(archive)
    out = tmp_path / "data"
    manifest, labels = read_subset(out, "train")
    assert manifest.paths == [f"audio/{name}" for name in TRAIN] and manifest.frames.tolist() == [4800] * 3
    assert labels == [["airport"], ["metro_station"], ["tram"]]
    manifest, labels = read_subset(out, "evaluate")
    assert manifest.paths == [f"audio/{name}" for name in sorted(EVALUATE)] and labels == [["airport"], ["metro"]]
    assert [label.key for label in read_vocabulary(out / "labels.csv")] == SCENES
    assert sorted(path.name for path in out.glob("*.lbl")) == ["evaluate.lbl", "train.lbl"]
    assert f"note: 1 files are in no list and left out (1030 officially), 'audio/{NEITHER}' first" in done.stdout
    assert "note: DCASE2019 Task 1A has train 9185, evaluate 4185 clips, found train 3, evaluate 2" in done.stdout


def test_missing_clips_are_counted_and_the_rest_is_not_split_again(archive, tmp_path):
    (archive / "audio" / TRAIN[1]).unlink()
    done = run(archive)
    assert f"train: 2 found of 3 listed (9185 officially), 1 missing, 'audio/{TRAIN[1]}' first" in done.stdout
    assert len(read_subset(tmp_path / "data", "evaluate")[0]) == 2


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("fold1_train.csv", table(TRAIN).replace("\t", ","), "line 1: expected the header `filename<TAB>"),
        ("fold1_train.csv", table(TRAIN).split("\n", 1)[1], "line 1: expected the header `filename<TAB>"),
        ("fold1_train.csv", table(TRAIN) + "audio/tram-vienna-1-2-a.wav\tbus\n", "line 5: expected one of airport"),
        ("fold1_train.csv", table(["cafe-paris-1-2-a.wav"]), "line 2: expected one of airport, bus, metro"),
        ("fold1_train.csv", table(TRAIN) + "audio/tram-vienna-1-2-a.wav\n", "line 5: expected `filename<TAB>scene"),
        ("fold1_evaluate.csv", table(TRAIN[:1]),
         "fold1_evaluate.csv, line 2: expected every clip once in all the lists, found 'audio/airport-barcelona"),
    ],
)  # fmt: skip
def test_bad_lists_are_refused(archive, name, text, message):
    (archive / "evaluation_setup" / name).write_text(text)
    assert message in run(archive, code=2).stderr


def test_no_lists_is_said(archive):
    (archive / "evaluation_setup" / "fold1_evaluate.csv").unlink()
    assert "fold1_evaluate.csv, found none; unpack TAU-urban-acoustic-scenes" in run(archive, code=2).stderr


def test_a_complete_archive_has_no_notes(archive, tmp_path, monkeypatch):
    """With a hundredth of the clips, whose number is checked in test_docs.py."""
    monkeypatch.setattr(dcase2019_task1a, "OFFICIAL", {"train": 92, "evaluate": 42})
    monkeypatch.setattr(dcase2019_task1a, "UNLISTED", 10)
    names = [f"bus-paris-{number // 10}-{number}-a.wav" for number in range(144)]
    root = tmp_path / "whole"
    (root / "audio").mkdir(parents=True)
    for name in names:
        os.link(archive / "audio" / TRAIN[0], root / "audio" / name)
    (root / "evaluation_setup").mkdir()
    (root / "evaluation_setup" / "fold1_train.csv").write_text(table(names[:92]))
    (root / "evaluation_setup" / "fold1_evaluate.csv").write_text(table(names[92:134]))
    done = run(root)
    assert "note" not in done.stdout and "train 92, evaluate 42 clips; rejected 0" in done.stdout
    assert "10 files are in no list and left out, as published" in done.stdout
