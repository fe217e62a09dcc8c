"""Scores over time, against a model that is run by hand and what maskspec-tag prints."""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from maskspec_fairseq.cli import tag
from maskspec_fairseq.data_dir.labels import Label
from maskspec_fairseq.inference.tagging import window_samples
from maskspec_fairseq.page.figures import draw_overview, draw_tags, highest_classes
from maskspec_fairseq.page.overview import read_overview
from maskspec_fairseq.page.tags import read_tags
from tests.factories import REPOSITORY, forward_file, save_exported, tagging_model, write_tone

MANY = tuple(Label(f"/m/{number}", f"class {number}") for number in range(11))


def printed(capsys, monkeypatch, model, path, *arguments):
    """What maskspec-tag prints for a file, in the file's own folder."""
    monkeypatch.chdir(path.parent)
    checkpoint = save_exported(model, path.parent / "model")
    assert tag.main([path.name, "--checkpoint", checkpoint, *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("window, hop", [(None, None), (0.5, 0.2)])
def test_windows_have_the_scores_of_their_samples_and_the_table_of_maskspec_tag(
    tmp_path, capsys, monkeypatch, window, hop
):
    model = tagging_model(MANY)
    path = write_tone(tmp_path / "a b.wav", 2.3, 32000)
    progress = []
    windows = window_samples(model, window, hop) if window else None
    tags = read_tags(model, str(path), path.name, windows, progress.append)
    hop = hop or 0.5
    assert tags.starts == pytest.approx([hop * row for row in range(len(tags.starts))])
    assert tags.ends == pytest.approx(np.minimum(2.3, tags.starts + 0.5)) and tags.ends[-1] == pytest.approx(2.3)
    for scores, start, end in zip(tags.scores, tags.starts, tags.ends):
        logits = forward_file(model, path, round(32000 * start), round(32000 * end)).logits[0]
        np.testing.assert_allclose(scores, logits.softmax(0), atol=1e-5)
    arguments = ["--window", "0.5", *(["--hop", "0.2"] if window else [])]
    assert tags.table(0.5) == printed(capsys, monkeypatch, model, path, *arguments)
    assert progress and progress == sorted(progress) and progress[-1] == pytest.approx(1)


def test_what_reaches_the_threshold_are_windows_by_class(tmp_path):
    model = tagging_model(MANY)
    tags = read_tags(model, str(write_tone(tmp_path / "a.wav", 2.3)), "a.wav", None)
    assert tags.events(1.0) == [] and len(tags.events(0.0)) == tags.scores.size
    threshold = float(np.median(tags.scores))
    events = tags.events(threshold)
    assert len(events) == (tags.scores >= threshold).sum() and all(event.score >= threshold for event in events)
    for event in events:
        row, column = np.flatnonzero(tags.starts == event.start)[0], tags.names.index(event.label)
        assert event.score == tags.scores[row, column] and event.end == tags.ends[row]


@pytest.mark.parametrize("threshold", [0.3, 0.6])
def test_a_model_with_a_head_of_frames_has_the_events_of_maskspec_tag(tmp_path, capsys, monkeypatch, threshold):
    model = tagging_model(MANY, multilabel=True, head="frames", clip_sec=1.0)
    path = write_tone(tmp_path / "a.wav", 3.7, 32000)
    progress = []
    tags = read_tags(model, str(path), path.name, None, progress.append)
    audio, rate = soundfile.read(path, dtype="float32")
    with torch.inference_mode():
        logits, times = model.frame_logits(torch.from_numpy(audio)[None], rate)
    np.testing.assert_allclose(tags.scores, logits[0].sigmoid(), atol=1e-5)
    assert tags.starts[1:] == pytest.approx(times[1:] - 0.08) and tags.ends[:-1] == pytest.approx(times[:-1] + 0.08)
    table = tags.table(threshold)
    assert table == printed(capsys, monkeypatch, model, path, "--events", "--threshold", str(threshold))
    assert table.count("\n") == 1 + len(tags.events(threshold)) > 2
    assert progress == sorted(progress) and progress[-1] == pytest.approx(1, abs=0.05)


def test_the_classes_with_the_highest_scores_are_shown():
    scores = np.random.default_rng(0).uniform(size=(7, 40))
    scores[:, 3] = np.nan
    scores[2, 3] = 0.99999
    shown = highest_classes(scores)
    highest = sorted(range(40), key=lambda column: -np.nanmax(scores[:, column]))
    assert shown == highest[:12] and shown[0] == 3


def test_pictures_follow_the_threshold_and_take_any_name(tmp_path):
    labels = (Label("a", "$a_b"), Label("b", "犬\n" * 30), Label("c", "c"))
    model = tagging_model(labels)
    path = write_tone(tmp_path / "a.wav", 1.7)
    found = read_overview(model.network.front_end, str(path), "mix")
    tags = read_tags(model, str(path), "$a^b\n犬.wav" * 20, None)
    pictures = {}
    for threshold in (0.0, float(np.median(tags.scores)), 1.0):
        draw_tags(found, tags, threshold, tmp_path / "t.png")
        pictures[threshold] = (tmp_path / "t.png").read_bytes()
    assert all(picture.startswith(b"\x89PNG") for picture in pictures.values())
    assert len(set(pictures.values())) == 3
    tags.scores[0, 0] = np.nan
    draw_tags(found, tags, 0.5, tmp_path / "t.png")
    draw_overview(found, "$a.wav", tmp_path / "o.png")
    assert (tmp_path / "o.png").read_bytes().startswith(b"\x89PNG")


PEAKS = """
import sys
from maskspec_fairseq.inference.load import load_labelled_model
from maskspec_fairseq.page.overview import read_overview
from maskspec_fairseq.page.tags import read_tags
from tests.memory import kib

checkpoint, short, long = sys.argv[1:]
model = load_labelled_model(checkpoint)
for path in (short, long):
    before = kib("self", "VmHWM")
    columns = read_overview(model.network.front_end, path, "mix").decibels.shape[1]
    rows = len(read_tags(model, path, "a.wav", None).scores)
print(columns, rows, (kib("self", "VmHWM") - before) // 1024)
"""


def test_a_long_file_takes_the_memory_of_a_short_one(tmp_path):
    """6 min are 46 MB as float32 at the model's rate, and 18 MB as a log-mel."""
    rng = np.random.default_rng(0)
    for minutes in (1, 6):
        noise = rng.integers(-3000, 3000, 8000 * 60 * minutes).astype(np.int16)
        soundfile.write(tmp_path / f"{minutes}.wav", noise, 8000)
    checkpoint = save_exported(tagging_model(clip_sec=2.0), tmp_path / "model")
    done = subprocess.run(
        [sys.executable, "-c", PEAKS, checkpoint, tmp_path / "1.wav", tmp_path / "6.wav"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    columns, rows, mib = map(int, done.stdout.split())
    assert columns == 1200 and rows == 180 and mib < 20
