"""maskspec-evaluate against a model that is run by hand."""

import csv
import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, average_precision_score

from maskspec_fairseq.audio.read import load_clip
from maskspec_fairseq.cli import evaluate, export
from maskspec_fairseq.data_dir.labels import ClipLabels, Label, write_labels, write_vocabulary
from maskspec_fairseq.data_dir.manifest import Manifest, write_manifest, write_rejected
from maskspec_fairseq.inference.evaluate import picture_title, write_scores
from tests.factories import REPOSITORY, save_exported, save_finetuned, tagging_model, write_tone

LABELS = ["low", "middle", "high"]


@pytest.fixture()
def data(tmp_path):
    """Nine clips of 0.3 to 1.5 s in three classes, of which the last has a second one; one more could not be read."""
    names = [f"{n}.wav" for n in range(9)]
    for n, name in enumerate(names):
        write_tone(tmp_path / "audio" / name, 0.3 + 0.15 * n, hz=300 * (1 + n % 3) + n, channels=2)
    write_manifest(tmp_path / "test.tsv", Manifest(str(tmp_path / "audio"), names, [1] * 9))
    write_labels(tmp_path / "test.lbl", [ClipLabels([LABELS[n % 3]]) for n in range(9)])
    write_labels(tmp_path / "several.lbl", [ClipLabels(LABELS[: n % 3]) for n in range(9)])
    write_manifest(tmp_path / "several.tsv", Manifest(str(tmp_path / "audio"), names, [1] * 9))
    write_vocabulary(tmp_path / "labels.csv", [Label(key, key.title()) for key in LABELS])
    write_rejected(tmp_path / "test.rejected.tsv", [("9.wav", "empty: 0 frames")])
    return tmp_path


def by_hand(model, data, channel="mix", size=16000, hop=16000):
    """The mean of the logits of a clip's windows, encoded one by one."""
    rows = []
    for n in range(9):
        waveform, _ = load_clip(str(data / "audio" / f"{n}.wav"), 32000, channel=channel)
        waveform = np.pad(waveform, (0, max(0, size - len(waveform))))
        last = len(waveform) - size
        with torch.no_grad():
            logits = [model(torch.from_numpy(waveform[s : s + size])[None])[0] for s in [*range(0, last, hop), last]]
        rows.append(torch.stack(logits).mean(0).numpy())
    return np.stack(rows)


def logits_of(rows):
    return [[float(value) for value in row[3:]] for row in rows[1:]]


def run(data, *arguments, subset="test"):
    arguments = ["--data", str(data), "--subset", subset, "--workers", "0", "--out", str(data / "out"), *arguments]
    assert evaluate.main(arguments) == 0
    with open(data / "out" / "predictions.csv", newline="") as stream:
        rows = list(csv.reader(stream))
    return json.loads((data / "out" / "scores.json").read_text()), rows


@pytest.mark.parametrize("batch_size", ["1", "4", "100"])
def test_logits_are_means_over_windows(data, capsys, batch_size):
    path, model = save_finetuned(data / "a.pt", 1)
    result, rows = run(data, "--checkpoint", path, "--batch-size", batch_size)
    logits = by_hand(model, data)
    np.testing.assert_allclose(logits_of(rows), logits, atol=1e-4)
    classes = np.arange(9) % 3
    assert result["scores"]["accuracy"] == pytest.approx(accuracy_score(classes, logits.argmax(1)), abs=1e-5)
    recalls = [float((logits.argmax(1)[classes == c] == c).mean()) for c in range(3)]
    assert list(result["classes"].values()) == pytest.approx(recalls)
    assert rows[0] == ["path", "labels", "predicted", *LABELS] and rows[2][:2] == ["1.wav", "middle"]
    assert rows[1][2] == LABELS[logits[0].argmax()]
    assert "test: scored 9 of 10 clips" in capsys.readouterr().out
    assert (data / "out" / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_windows_overlap_on_demand(data):
    path, model = save_finetuned(data / "a.pt", 1)
    _, rows = run(data, "--checkpoint", path, "--hop-sec", "0.25")
    expected = by_hand(model, data, hop=8000)
    np.testing.assert_allclose(logits_of(rows), expected, atol=1e-4)


def test_each_checkpoint_uses_its_channel_and_length_and_their_logits_are_averaged(data):
    settings = [("left", 0.5), ("right", 0.25), ("mid", 1.0)]
    saved = [save_finetuned(data / f"{c}.pt", n, channel=c, clip_sec=s) for n, (c, s) in enumerate(settings)]
    _, rows = run(data, "--checkpoint", *(path for path, _ in saved))
    sizes = [(channel, round(32000 * clip_sec)) for channel, clip_sec in settings]
    expected = np.mean([by_hand(m, data, c, size, size) for (_, m), (c, size) in zip(saved, sizes)], axis=0)
    np.testing.assert_allclose(logits_of(rows), expected, atol=1e-4)


def test_half_precision_is_close_to_float32(data):
    path, _ = save_finetuned(data / "a.pt", 1)
    full, half = (
        np.array(logits_of(run(data, "--checkpoint", path, "--precision", precision)[1]))
        for precision in ("float32", "bf16")
    )
    assert not np.array_equal(full, half)
    assert np.linalg.norm(half - full) < 0.05 * np.linalg.norm(full)


@pytest.mark.parametrize("multilabel", [False, True])
def test_an_exported_folder_has_the_scores_of_its_checkpoint(data, multilabel):
    path, _ = save_finetuned(data / "a.pt", 1, multilabel=multilabel, channel="left")
    assert export.main(["--checkpoint", path, "--out", str(data / "exported")]) == 0
    subset = "several" if multilabel else "test"
    of_checkpoint, rows = run(data, "--checkpoint", path, subset=subset)
    of_folder, same_rows = run(data, "--checkpoint", str(data / "exported"), subset=subset)
    assert of_checkpoint.pop("checkpoints") == [path] and of_folder.pop("checkpoints") == [str(data / "exported")]
    assert of_folder == of_checkpoint and same_rows == rows


def test_a_checkpoint_is_read_once(data, monkeypatch):
    path, _ = save_finetuned(data / "a.pt", 1)
    loads, load = [], torch.load
    monkeypatch.setattr(torch, "load", lambda file, *args, **kwargs: loads.append(file) or load(file, *args, **kwargs))
    run(data, "--checkpoint", path)
    assert loads == [path]


def test_several_classes_per_clip_are_scored_by_average_precision(data, capsys):
    path, model = save_finetuned(data / "m.pt", 2, multilabel=True)
    result, rows = run(data, "--checkpoint", path, subset="several")
    logits = by_hand(model, data)
    target = np.array([[c < n % 3 for c in range(3)] for n in range(9)])
    expected = [average_precision_score(target[:, c], logits[:, c]) for c in (0, 1)]
    assert list(result["classes"].values()) == [*map(pytest.approx, expected), None]
    assert result["scores"]["mAP"] == pytest.approx(np.mean(expected), abs=1e-5)
    assert rows[3][1] == "low middle" and (data / "out" / "classes.png").is_file()
    assert "1 of 3 classes have no clip here" in capsys.readouterr().out


def test_pictures_say_what_was_scored_by_which_model():
    summary = {"checkpoints": ["a.pt", "b.pt", "c.pt"], "data": "data/x", "subset": "test", "clips": 40}
    title = picture_title({**summary, "scores": {"accuracy": 0.625, "class_mean_accuracy": 0.5}})
    assert title == "data/x/test: accuracy 0.625 on 40 clips, by a.pt and 2 more"


def test_ctrl_c_is_a_line_whatever_the_processes_that_load_are_doing(data):
    path, _ = save_finetuned(data / "a.pt", 1)
    (data / "test.tsv").write_text(f"{data / 'audio'}\n" + "8.wav\t1\n" * 5000)
    (data / "test.lbl").write_text("low\n" * 5000)
    command = [sys.executable, "-m", "maskspec_fairseq.cli.evaluate", "--checkpoint", path, "--data", str(data)]
    command += ["--subset", "test", "--workers", "2", "--device", "cpu"]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # what a shell starts in the background ignores the signal
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    shown = ""
    while "/5000 [" not in shown:  # the progress bar
        character = process.stderr.read(1)
        assert character, f"it ended before there was a bar: {shown}"
        shown += character
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and not stdout and "Traceback" not in stderr
    *bars, last = stderr.splitlines()
    assert last.startswith("maskspec-evaluate: interrupted; no file was left incomplete")
    assert all("clip/s]" in bar or not bar for bar in bars)


def test_a_score_that_is_not_finite_is_null_in_the_file(tmp_path):
    write_scores(tmp_path / "s.json", {"scores": {"mAP": 1.0, "d_prime": math.inf, "mean_auc": math.nan}})
    assert json.loads((tmp_path / "s.json").read_text())["scores"] == {"mAP": 1.0, "d_prime": None, "mean_auc": None}


def test_each_of_a_few_classes_is_shown_once(data, capsys):
    path, _ = save_finetuned(data / "a.pt", 1)
    run(data, "--checkpoint", path)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("recall of classes: "))
    assert all(line.count(f"{key} ") == 1 for key in LABELS) and "..." not in line


def test_where_the_scores_go_is_checked_before_a_clip_is_read(data, monkeypatch, capsys):
    path, _ = save_finetuned(data / "a.pt", 1)
    monkeypatch.setattr(evaluate, "evaluate", None)
    arguments = ["--data", str(data), "--subset", "test", "--checkpoint", path, "--out", str(data / "test.tsv")]
    assert evaluate.main(arguments) == 2
    assert f"expected a directory that can be written, found {data / 'test.tsv'}" in capsys.readouterr().err


def test_what_does_not_fit_is_refused(data, capsys):
    good, _ = save_finetuned(data / "a.pt", 1)
    other, _ = save_finetuned(data / "b.pt", 1, labels=("low", "high", "middle"))
    several, _ = save_finetuned(data / "c.pt", 1, multilabel=True)
    for checkpoints, subset, message in [
        ([other], "test", "b.pt: expected the 3 classes of"),
        ([good, several], "test", "expected checkpoints of one task"),
        ([good], "fold1", "found only the subsets several, test there; name one of them\n"),
        (["none.pt"], "test", "found no such file"),
        ([save_exported(tagging_model(labels=()), data / "bare")], "test", "bare: expected a model with labels, found"),
    ]:
        arguments = ["--data", str(data), "--subset", subset, "--workers", "0"]
        assert evaluate.main([*arguments, "--checkpoint", *checkpoints]) == 2
        assert message in capsys.readouterr().err
    for arguments, message in [
        (["--hop-sec", "0.6"], "expected --hop-sec from one sample up to the 0.5 s of"),
        (["--hop-sec", "0.00001"], "expected --hop-sec from one sample up to the 0.5 s of"),
    ]:
        assert evaluate.main(["--data", str(data), "--subset", "test", "--checkpoint", good, *arguments]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit:
        evaluate.main(["--data", str(data), "--subset", "test", "--checkpoint", good, "--device", "cuda:77"])
    assert exit.value.code == 2
    assert "expected a device of this machine, found none for cuda:77" in capsys.readouterr().err
    for line, message in [("", "found 0 and 0; correct the line, or label"), ("low,high", "found 2 and 0")]:
        (data / "test.lbl").write_text("low\n" * 4 + line + "\n" + "low\n" * 4)
        assert evaluate.main(["--data", str(data), "--subset", "test", "--checkpoint", good]) == 2
        assert f"test.lbl, line 5: expected one class and none marked as absent, {message}" in capsys.readouterr().err
    (data / "test.lbl").write_text("low\n" * 8)
    assert evaluate.main(["--data", str(data), "--subset", "test", "--checkpoint", good]) == 2
    assert "test.lbl, line 9: expected one line for each of the 9 clips, found 8" in capsys.readouterr().err
    (data / "test.lbl").unlink()
    assert evaluate.main(["--data", str(data), "--subset", "test", "--checkpoint", good]) == 2
    assert "test.lbl" in capsys.readouterr().err
    (data / "labels.csv").unlink()
    assert evaluate.main(["--data", str(data), "--subset", "test", "--checkpoint", good]) == 2
    assert "of maskspec-build that has labels (folder: with --labels-from-parent)" in capsys.readouterr().err
