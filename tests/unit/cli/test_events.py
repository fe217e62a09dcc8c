"""A model with a head of frames in use: maskspec-tag --events, maskspec-evaluate, maskspec-export."""

import csv
import json

import numpy as np
import pytest
import soundfile
import torch
from scipy.ndimage import median_filter

from maskspec_fairseq.cli import evaluate, export, tag
from maskspec_fairseq.data_dir.labels import ClipLabels, Label, write_labels, write_vocabulary
from maskspec_fairseq.data_dir.manifest import Manifest, write_manifest
from maskspec_fairseq.inference.events import Detection, Frames, find_events, median_of_active
from maskspec_fairseq.inference.load import load_model
from maskspec_fairseq.inference.tagging import events_of_files
from tests.factories import TAG_LABELS, noise, save_exported, tagging_model, write_tone

COLUMN = 0.16  # s
RATE = 32000
LABELS = [Label("noise", "Noise"), Label("other", "Other")]


def frames_model(**kwargs):
    return tagging_model(multilabel=True, head="frames", clip_sec=1.0, **kwargs)


def loudness_model():
    """Its first class is whatever is louder than silence, its second never sounds."""
    model = frames_model(labels=LABELS)
    network = model.network
    network.front_end.set_statistics([-8.0] * 128, [4.0] * 128)
    silent, loud = torch.zeros(1, RATE), 0.2 * torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        quiet, heard = (network.embed_columns(waveform)[0] for waveform in (silent, loud))
        direction = heard.mean(0) - quiet.mean(0)
        network.head.weight.zero_()
        network.head.weight[0] = 20 * direction / direction.square().sum()
        network.head.bias[0] = -(network.head.weight[0] @ (heard.mean(0) + quiet.mean(0))) / 2
        network.head.bias[1] = -10
    return model.eval()


def write_bursts(path, bursts, seconds, rate=RATE):
    waveform = np.zeros(round(seconds * rate))
    for start, end in bursts:
        span = slice(round(start * rate), round(end * rate))
        waveform[span] = 0.2 * np.random.default_rng(0).standard_normal(span.stop - span.start)
    soundfile.write(path, waveform, rate)
    return path


def run(capsys, *arguments, code=0):
    assert tag.main([str(argument) for argument in arguments]) == code
    return capsys.readouterr()


def test_frames_follow_each_other_through_a_long_clip():
    """In a clip of several windows a frame is what its window gives alone; the last one is padded."""
    model = frames_model()
    waveform = noise(80000, 1)
    with torch.no_grad():
        logits, times = model.frame_logits(waveform, RATE)
        assert torch.equal(model(waveform, RATE).logits, logits.amax(dim=1))
        columns = 6  # of a window of 1 s, so that windows follow each other every 0.96 s
        second = model.network(waveform[:, columns * 5120 : columns * 5120 + RATE])
    assert logits.shape == (1, 16, 3) and torch.allclose(logits[:, 6:12], second, atol=1e-5)
    assert times.numpy() == pytest.approx(0.075 + COLUMN * np.arange(16), abs=1e-9)


def test_clips_of_unequal_length_get_what_they_get_alone():
    model = frames_model()
    clips = noise(64000, 2)
    with torch.no_grad():
        together = model(clips, RATE, lengths=[64000, 20000]).logits
        assert torch.allclose(together[1], model(clips[1:, :20000], RATE).logits[0], atol=1e-5)


@pytest.mark.parametrize("rate", [32000, 44100])
def test_events_are_where_the_sound_is(tmp_path, capsys, rate):
    bursts = [(0.4, 1.3), (2.0, 2.7), (3.9, 5.0)]
    path = write_bursts(tmp_path / "a.wav", bursts, 5.0, rate)
    checkpoint = save_exported(loudness_model(), tmp_path / "model")
    header, *lines = run(capsys, path, "--checkpoint", checkpoint, "--events").out.splitlines()
    assert header.split("\t") == ["filename", "onset", "offset", "event_label", "score"]
    rows = [line.split("\t") for line in lines]
    assert [row[0] for row in rows] == [str(path)] * 3 and {row[3] for row in rows} == {"Noise"}
    found = np.array([[float(cell) for cell in row[1:3]] for row in rows])
    assert found == pytest.approx(np.array(bursts), abs=COLUMN)
    assert all(0.5 <= float(row[4]) <= 1 for row in rows)
    arguments = [path, "--checkpoint", checkpoint, "--events", "--format", "jsonl"]
    first = json.loads(run(capsys, *arguments).out.splitlines()[0])
    assert list(first) == ["file", "start_sec", "end_sec", "label", "score"]
    assert first["start_sec"] == pytest.approx(found[0][0], abs=1e-3) and first["label"] == "Noise"
    assert not run(capsys, *arguments, "--threshold", "1").out
    assert len(run(capsys, *arguments, "--median-sec", "9").out.splitlines()) <= 1


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_tagged(tmp_path, capsys):
    (tmp_path / "broken.wav").write_text("no audio")
    good = write_bursts(tmp_path / "a.wav", [(0.2, 0.8)], 1.0)
    checkpoint = save_exported(loudness_model(), tmp_path / "model")
    done = run(capsys, tmp_path / "broken.wav", good, "--checkpoint", checkpoint, "--events", code=2)
    assert len(done.out.splitlines()) == 2 and "1 of 2 files could not be tagged" in done.err


def test_a_damaged_model_is_warned_of(tmp_path, caplog):
    model = loudness_model()
    torch.nn.init.constant_(model.network.head.bias, float("nan"))
    path = write_bursts(tmp_path / "a.wav", [(0.2, 0.8)], 1.0)
    assert list(events_of_files(model, [str(path)], Detection(0.0))) == [[]]
    assert "a.wav: scores that are NaN; is the model damaged?" in caplog.text


def test_files_and_windows_are_tagged_by_the_maximum_over_their_frames(tmp_path, capsys):
    model = frames_model()
    path = write_tone(tmp_path / "a.wav", 2.9)
    arguments = [path, "--checkpoint", save_exported(model, tmp_path / "model"), "--format", "jsonl"]
    audio, _ = soundfile.read(path, dtype="float32")
    with torch.no_grad():
        logits, times = model.frame_logits(torch.from_numpy(audio)[None], RATE)
    (result,) = map(json.loads, run(capsys, *arguments).out.splitlines())
    scores = {entry["key"]: entry["score"] for entry in result["tags"]}
    expected = logits[0].amax(0).sigmoid()
    assert [scores[label.key] for label in TAG_LABELS] == pytest.approx(expected.tolist(), abs=1e-5)
    results = [json.loads(line) for line in run(capsys, *arguments, "--window", 1, "--hop", 0.5).out.splitlines()]
    assert [(r["start_sec"], r["end_sec"]) for r in results] == [(0, 1), (0.5, 1.5), (1, 2), (1.5, 2.5), (2, 2.9)]
    scores = {entry["key"]: entry["score"] for entry in results[1]["tags"]}
    expected = logits[0, (times >= 0.5) & (times < 1.5)].amax(0).sigmoid()
    assert [scores[label.key] for label in TAG_LABELS] == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_median_filter_closes_gaps_and_drops_blips():
    scores = np.array([0, 0.9, 0.8, 0.1, 0.7, 0.9, 0, 0, 0, 0.9, 0, 0])[:, None]
    frames = Frames(scores, 0.1 * np.arange(12) + 0.05, 0.1, 1.15)
    plain = find_events(frames, ["a"], Detection(0.5, 0.0))
    assert [event[:2] for event in plain] == [(0.1, 0.3), (0.4, 0.6), (0.9, 1.0)]
    assert plain[0].score == pytest.approx(0.85)
    (event,) = find_events(frames, ["a"], Detection(0.5, 0.3))
    assert event[:3] == (0.1, 0.6, "a") and event.score == pytest.approx(np.mean(scores[1:6]))
    assert find_events(frames._replace(scores=np.ones((12, 1))), ["a"], Detection())[0][:2] == (0.0, 1.15)
    assert not find_events(frames._replace(scores=np.full((12, 1), np.nan)), ["a"], Detection(0.0))
    assert find_events(frames, ["a"], Detection(0.0, 1e300))[0][:2] == (0.0, 1.15)
    blip = np.zeros((12, 1))
    blip[-1] = 1
    assert not find_events(frames._replace(scores=blip), ["a"], Detection(0.5, 0.3))


@pytest.mark.parametrize("size", [1, 3, 7, 99])
def test_the_median_is_scipys_but_for_the_ends(size):
    active = np.random.default_rng(size).random((40, 3)) > 0.5
    found, half = median_of_active(active, size), size // 2
    expected = median_filter(active.astype(np.uint8), size=(size, 1), mode="constant").astype(bool)
    assert np.array_equal(found[half : 40 - half], expected[half : 40 - half])
    assert np.array_equal(found[0], np.median(active[: half + 1], axis=0) == 1)


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_what_sounds_throughout_a_file_shorter_than_the_filter_is_an_event(columns):
    frames = Frames(np.ones((columns, 2)) * [0.9, 0.1], 0.1 * np.arange(columns) + 0.05, 0.1, 0.1 * columns)
    (event,) = find_events(frames, ["a", "b"], Detection(0.5, 0.9))
    assert event[:3] == (0.0, pytest.approx(0.1 * columns), "a")


@pytest.fixture()
def data(tmp_path):
    """Two clips: two bursts at 44.1 kHz, and silence."""
    audio = tmp_path / "audio"
    audio.mkdir()
    write_bursts(audio / "a.wav", [(0.32, 1.28), (2.08, 2.72)], 3.0, 44100)
    write_bursts(audio / "b.wav", [], 2.0)
    write_vocabulary(tmp_path / "labels.csv", LABELS)
    write_manifest(tmp_path / "test.tsv", Manifest(str(audio), ["a.wav", "b.wav"], [3 * 44100, 2 * RATE]))
    write_labels(tmp_path / "test.lbl", [ClipLabels(["noise"]), ClipLabels([])])
    # the second is 0.5 s late
    (tmp_path / "test.events").write_text(f"{round(0.32 * 44100)}:{round(1.28 * 44100)}:noise,113778:132300:noise\n\n")
    return tmp_path


def evaluated(data, *arguments, code=0):
    checkpoint = save_exported(loudness_model(), data / "model")
    base = ["--checkpoint", checkpoint, "--data", str(data), "--subset", "test", "--workers", "0"]
    assert evaluate.main([*base, "--out", str(data / "out"), *arguments]) == code
    return json.loads((data / "out" / "scores.json").read_text())


def test_evaluation_scores_clips_and_events(data, capsys):
    summary = evaluated(data)
    scores = summary["scores"]
    assert scores["mAP"] == 1 and scores["event_f1"] == 0.5
    # segments 0 and 1, and 2; found are the same
    assert scores["segment_f1"] == 1 and summary["event_classes"] == {"Noise": {"segment_f1": 1, "event_f1": 0.5}}
    assert summary["detection"] == {"threshold": 0.5, "median_sec": 0.45}
    assert "event_f1_macro" in capsys.readouterr().out
    rows = {}
    for name in ("events", "reference"):
        with open(data / "out" / f"{name}.tsv", newline="") as stream:
            rows[name] = list(csv.DictReader(stream, delimiter="\t"))
    assert [(row["filename"], row["onset"], row["event_label"]) for row in rows["reference"]] == [
        ("a.wav", "0.320", "Noise"), ("a.wav", "2.580", "Noise")
    ]  # fmt: skip
    assert [float(row["onset"]) for row in rows["events"]] == pytest.approx([0.32, 2.08], abs=COLUMN)
    # the same frames as those of a whole file
    audio, rate = soundfile.read(data / "audio" / "a.wav", dtype="float32")
    with torch.no_grad():
        logits = loudness_model()(torch.from_numpy(audio)[None], rate).logits[0]
    with open(data / "out" / "predictions.csv", newline="") as stream:
        found = [float(value) for value in list(csv.reader(stream))[1][3:]]
    assert found == pytest.approx(logits.tolist(), abs=1e-3)
    assert evaluated(data, "--threshold", "1", "--batch-size", "1")["scores"]["segment_f1"] == 0


def test_without_events_the_clips_alone_are_scored(data):
    evaluated(data)
    (data / "test.events").unlink()
    assert list(evaluated(data)["scores"]) == ["mAP", "mean_auc", "d_prime", "skipped_classes"]
    assert not list((data / "out").glob("*.tsv"))


def test_a_class_at_times_unknown_is_left_out_of_f1(data):
    """The second class is said to sound in the second clip, at no times; the first is unknown in it."""
    (data / "test.lbl").write_text("noise\nother,-noise\n")
    write_bursts(data / "audio" / "b.wav", [(0.3, 1.7)], 2.0)
    assert evaluated(data)["event_classes"]["Noise"]["event_f1"] == pytest.approx(2 / (2 + 3), abs=1e-5)  # absent
    (data / "test.lbl").write_text("noise\nnoise\n")
    scores = evaluated(data)["scores"]
    assert (scores["event_f1"], scores["segment_f1"]) == (0.5, 1)
    rows = list(csv.DictReader((data / "out" / "events.tsv").open(newline=""), delimiter="\t"))
    assert {row["filename"] for row in rows} == {"a.wav"}


def test_what_does_not_go_together_is_refused(data, tmp_path, capsys):
    frames = save_exported(loudness_model(), tmp_path / "frames")
    clips = save_exported(tagging_model(multilabel=True, labels=LABELS), tmp_path / "clips")
    path = data / "audio" / "a.wav"
    for arguments, message in [
        (
            [path, "--checkpoint", clips, "--events"],
            "clips: expected a model with a head of frames for --events, found",
        ),
        ([path, "--checkpoint", frames, "--events", "--window", 1], "expected --events without --window, found --wind"),
        ([path, "--checkpoint", frames, "--threshold", 0.2], "expected --threshold and --median-sec with --events"),
    ]:
        assert message in run(capsys, *arguments, code=2).err
    base = ["--data", str(data), "--subset", "test", "--workers", "0", "--checkpoint"]
    for arguments, message in [
        ([frames, clips], "frames: expected a model with a head of frames alone"),
        ([frames, "--hop-sec", "0.5"], "expected no --hop-sec for"),
        ([clips, "--threshold", "0.2"], "expected --threshold and --median-sec with a model of model.head=frames"),
    ]:
        assert evaluate.main([*base, *arguments]) == 2
        found = capsys.readouterr().err
        assert message in found or message.replace("frames: ", "") in found
    (data / "test.events").write_text("0:132301:noise\n\n")
    assert evaluate.main([*base, frames]) == 2
    assert "test.events, line 1: expected a start and a later end within the 132300 frames" in capsys.readouterr().err


def test_an_exported_folder_keeps_the_head_and_onnx_is_refused(tmp_path, capsys):
    model = frames_model()
    first = save_exported(model, tmp_path / "first")
    assert export.main(["--checkpoint", first, "--out", str(tmp_path / "again")]) == 0
    assert "a head for 3 classes in frames" in capsys.readouterr().out
    again = load_model(str(tmp_path / "again"))
    waveform = noise(40000)
    with torch.no_grad():
        assert torch.equal(again.frame_logits(waveform, RATE)[0], model.frame_logits(waveform, RATE)[0])
    assert export.main(["--checkpoint", first, "--out", str(tmp_path / "onnx"), "--onnx"]) == 2
    assert not (tmp_path / "onnx").exists()
    assert "found model.head=frames; export the folder alone, without --onnx" in capsys.readouterr().err
    assert load_model(first, layers=[1]).labels == []  # another readout has no head
    with pytest.raises(ValueError, match="expected a model with a head of frames, found one of clips; finetune it"):
        load_model(first, layers=[1]).frame_logits(waveform, RATE)


def test_a_folder_of_before_has_a_head_of_clips(tmp_path):
    folder = save_exported(tagging_model(), tmp_path / "old")
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    assert config.pop("head") == "linear"
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    assert not load_model(folder).network.head_of_frames
