import itertools
import json
import os
import shutil

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from sklearn.metrics import accuracy_score

from maskspec_fairseq.cli import probe
from maskspec_fairseq.data_dir.labels import ClipLabels, Label, write_labels, write_vocabulary
from maskspec_fairseq.data_dir.manifest import Manifest, write_manifest
from maskspec_fairseq.inference.embed_files import EmbeddingEncoder
from maskspec_fairseq.inference.export_folder import write_folder
from maskspec_fairseq.inference.probes import PROBES
from maskspec_fairseq.inference.probing import random_weights
from maskspec_fairseq.metrics import accuracy, multilabel_scores
from tests.factories import MODEL_LABELS, noise, small_audio_model, write_tone

KEYS = ["low", "middle", "high"]


def blobs(seed: int, clips: int = 60):
    """Features about one of three corners, and the corners."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(3, size=clips)
    return 5 * np.eye(3)[classes] + rng.standard_normal((clips, 3)), classes


def predict(kind, features, target, known, target_is_multilabel, others):
    """By the weakest regularisation."""
    return PROBES[kind](features, target, known, target_is_multilabel)(others)[-1]


@pytest.mark.parametrize("kind", PROBES)
def test_corners_are_told_apart_and_noise_is_not(kind):
    (features, classes), (others, expected) = blobs(0), blobs(1)
    target, known = np.eye(3, dtype=bool)[classes], np.ones((60, 3), dtype=bool)
    assert accuracy(predict(kind, features, target, known, False, others), expected) > 0.95
    several = predict(kind, features, target, known, True, others)
    assert multilabel_scores(several, np.eye(3, dtype=bool)[expected], known).mean_average_precision > 0.95
    shuffled = np.random.default_rng(2).permutation(target)
    assert accuracy(predict(kind, features, shuffled, known, False, others), expected) < 0.6


@pytest.mark.parametrize("kind", PROBES)
def test_what_is_unknown_does_not_teach(kind):
    """Wrong targets that are marked as unknown do no harm, and a class that no clip has is never chosen."""
    (features, classes), (others, expected) = blobs(0), blobs(1)
    target = np.eye(4, dtype=bool)[classes]
    known = np.ones_like(target)
    known[:20], target[:20] = False, np.eye(4, dtype=bool)[3]
    scores = predict(kind, features, target, known, True, others)
    assert accuracy_score(expected, scores[:, :3].argmax(1)) > 0.95
    assert accuracy(predict(kind, features[20:], target[20:], known[20:], False, others), expected) > 0.95


@pytest.fixture()
def data(tmp_path):
    """Three folds of nine tones in three registers, and one subset of clips with several classes."""
    number = 0
    for fold in (1, 2, 3):
        names, labels = [], []
        for n in range(9):
            number += 1
            names.append(f"{number}.wav")
            labels.append(ClipLabels([KEYS[n % 3]]))
            write_tone(tmp_path / "audio" / names[-1], 0.4 + 0.1 * n, hz=(200, 900, 4000)[n % 3] + 7 * number)
        write_manifest(tmp_path / f"fold{fold}.tsv", Manifest(str(tmp_path / "audio"), names, [1] * 9))
        write_labels(tmp_path / f"fold{fold}.lbl", labels)
    write_manifest(tmp_path / "several.tsv", Manifest(str(tmp_path / "audio"), names, [1] * 9))
    write_labels(
        tmp_path / "several.lbl", [ClipLabels([KEYS[n % 3], KEYS[(n + n // 3) % 3]][: 1 + n % 2]) for n in range(9)]
    )
    write_vocabulary(tmp_path / "labels.csv", [Label(key, key) for key in KEYS])
    write_folder(small_audio_model([]), str(tmp_path / "m"))
    return tmp_path


def run(data, *arguments):
    return probe.main(["--checkpoint", str(data / "m"), "--data", str(data), "--device", "cpu", *arguments])


def test_every_fold_is_scored_by_the_others(data, capsys):
    assert run(data, "--baselines", "--out", str(data / "probe.json")) == 0
    result = json.loads((data / "probe.json").read_text())
    assert list(result["features"]) == ["embeddings", "random encoder", "log-mel statistics"]
    for kinds in result["features"].values():
        assert list(kinds) == ["linear", "knn"] and list(kinds["linear"]) == ["fold1", "fold2", "fold3"]
    assert np.mean(list(result["features"]["log-mel statistics"]["linear"].values())) > 0.9
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == 6 and "accuracy" in shown and "+-" in shown


def test_a_fold_does_not_teach_its_own_clips(data):
    """With all labels of one fold shuffled, the other folds tell its clips as they sound."""
    before = json_of(data)
    write_labels(data / "fold1.lbl", [ClipLabels([KEYS[(n + 1) % 3]]) for n in range(9)])
    assert before["fold1"] > 0.8 and json_of(data)["fold1"] < 0.2


def json_of(data):
    assert run(data, "--baselines", "--out", str(data / "probe.json")) == 0
    return json.loads((data / "probe.json").read_text())["features"]["log-mel statistics"]["linear"]


def test_named_subsets_and_several_classes(data, capsys):
    assert run(data, "--train", "fold1", "fold2", "--test", "fold3") == 0
    assert "fold3" in capsys.readouterr().out
    assert run(data, "--train", "several", "--test", "fold3") == 0
    assert "mAP" in capsys.readouterr().out


def sweep(data, *arguments):
    assert run(data, "--sweep", "--out", str(data / "sweep.json"), *arguments) == 0
    return json.loads((data / "sweep.json").read_text())


def test_a_sweep_encodes_each_clip_once_and_scores_it_as_single_probes_do(data, monkeypatch, capsys):
    encoded, join = [], EmbeddingEncoder.join
    monkeypatch.setattr(EmbeddingEncoder, "join", lambda *arguments: encoded.append(1) or join(*arguments))
    result = sweep(data, "--baselines", "--plot", str(data / "pictures" / "sweep.png"))
    assert len(encoded) == 2 * 27  # of 3 folds; by the encoder and by the random one
    pools = ["mean", "mean+max", "mean+std", "frequency", "frequency+max", "frequency+std"]
    assert result["pools"] == pools and result["layers"] == [1, 2] and result["score"] == "accuracy"
    kept = {(row["features"], row["layer"], row["pool"]): row for row in result["readouts"]}
    log_mel = [("log-mel", None, pool) for pool in ("mean", "mean+max", "mean+std", "mean+max+std")]
    encoders = itertools.product(["embeddings", "random encoder"], [1, 2], pools)
    assert list(kept) == [*encoders, *log_mel]
    for layer, pool in ((2, "frequency+max"), (1, "mean")):
        single = ["--pool", pool, "--layers", str(layer), "--out", str(data / "probe.json"), "--baselines"]
        assert run(data, *single) == 0
        alone = json.loads((data / "probe.json").read_text())
        for features in ("embeddings", "random encoder"):
            assert alone["features"][features] == kept[features, layer, pool]["scores"]
            assert alone["C"][features] == kept[features, layer, pool]["C"]
        assert alone["features"]["log-mel statistics"] == kept["log-mel", None, "mean+std"]["scores"]
    assert (data / "pictures" / "sweep.png").read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert "layer mean " in shown and "*" in shown and "Layer and pooling chosen inside the training part" in shown


def test_a_sweep_chooses_without_the_clips_that_are_tested(data):
    """Other labels of the fold that is tested change its scores, and nothing that was chosen for it."""
    before = sweep(data)
    write_labels(data / "fold1.lbl", [ClipLabels([KEYS[(n + 1) % 3]]) for n in range(9)])
    after = sweep(data)
    for kind in PROBES:
        assert after["chosen"]["embeddings"][kind]["fold1"] == before["chosen"]["embeddings"][kind]["fold1"]
        chosen = before["chosen"]["embeddings"][kind]["fold1"]
        (row,) = (row for row in before["readouts"] if chosen == {"layer": row["layer"], "pool": row["pool"]})
        assert row["scores"][kind]["fold1"] == before["features"]["embeddings"][kind]["fold1"]
        assert row["inside"][kind]["fold1"] == max(row["inside"][kind]["fold1"] for row in before["readouts"])
    for one, other in zip(before["readouts"], after["readouts"]):
        assert (
            one["C"]["fold1"] == other["C"]["fold1"]
            and one["inside"]["linear"]["fold1"] == other["inside"]["linear"]["fold1"]
        )
    folds = [[row["scores"]["linear"]["fold1"] for row in result["readouts"]] for result in (before, after)]
    assert folds[0] != folds[1]


def test_a_sweep_of_named_subsets_layers_and_poolings(data, capsys):
    chosen = ["--layers", "2", "--pool", "mean", "--pool", "mean+std", "frequency", "mean", "--train", "several"]
    result = sweep(data, *chosen, "--test", "fold3")
    assert result["score"] == "mAP" and [row["pool"] for row in result["readouts"]] == ["mean", "mean+std", "frequency"]
    assert {row["layer"] for row in result["readouts"]} == {2}
    assert all(row["C"]["fold3"] > 0 and row["scores"]["knn"]["fold3"] <= 1 for row in result["readouts"])
    assert "+-" not in capsys.readouterr().out  # a single subset has no deviation


def test_several_processes_give_the_scores_of_one(data, monkeypatch):
    alone = sweep(data)
    monkeypatch.setattr("maskspec_fairseq.inference.sweep.VALUES_PER_PROCESS", 10_000)
    monkeypatch.setattr("maskspec_fairseq.inference.sweep.cpu_count", lambda: 2)
    assert sweep(data) == alone


def test_a_sweep_shows_its_layers_from_low_to_high_once(data, monkeypatch):
    """Whatever their order in --layers; and a path with a $ is a title, not a formula."""
    drawn, plot = [], Axes.plot
    monkeypatch.setattr(Axes, "plot", lambda axis, *args, **style: drawn.append(args) or plot(axis, *args, **style))
    model = shutil.copytree(data / "m", data / "x^{$y_$")
    picture = data / "sweep.png"
    arguments = ["--checkpoint", str(model), "--layers", "2,1,2", "--pool", "mean", "--plot", str(picture)]
    result = sweep(data, *arguments)
    assert result["layers"] == [1, 2] == [row["layer"] for row in result["readouts"]]
    assert [args[0] for args in drawn] == [(1, 2)] * 2 and picture.read_bytes().startswith(b"\x89PNG")


def test_random_encoder_pools_padding_where_the_model_does():
    """A finetuned model pools as in its training; without its readout another one is no baseline of it."""
    for labels, pools_padding in ((MODEL_LABELS, True), ([], False)):
        other = random_weights(small_audio_model(labels))
        short = noise(8000)
        padded = torch.nn.functional.pad(short, (0, other.window_samples - 8000))
        with torch.no_grad():
            assert torch.allclose(other.embed(short), other.embed(padded), atol=1e-6) == pools_padding


def test_random_encoder_has_the_statistics_and_other_weights():
    model = small_audio_model([])
    other = random_weights(model)
    assert torch.equal(other.network.front_end.mel_std, model.network.front_end.mel_std)
    assert not torch.equal(other.network.encoder.patch_embed.weight, model.network.encoder.patch_embed.weight)


def test_scores_are_printed_though_they_cannot_be_written(data, monkeypatch, capsys):
    """As on a disk that is full since the program began."""
    monkeypatch.setattr(probe, "write_json", lambda *_: os.mkdir(data))
    assert run(data, "--out", str(data / "a.json")) == 2
    shown = capsys.readouterr()
    assert "embeddings" in shown.out and "accuracy" in shown.out and "File exists" in shown.err


def test_what_is_missing_is_named(data, capsys):
    for arguments, message in [
        (
            ["--train", "fold1"],
            "or --train SUBSET and --test SUBSET, found --train alone, and the subsets fold1, fold2",
        ),
        (["--data", str(data / "no")], f"expected a data directory, found none at {data / 'no'}"),
        (["--out", str(data)], f"--out: expected the name of a file to write, found the directory {data}"),
        (["--sweep", "--plot", str(data / "fold1.tsv" / "a.png")], f"--plot {data}/fold1.tsv: expected a directory"),
        (
            ["--out", str(data / "fold1.tsv" / "a.json")],
            f"expected a directory that can be written, found {data}/fold1",
        ),
        (["--train", "fold1", "--test", "fold9"], "fold9.tsv"),
        (["--train", "fold1", "fold2", "--test", "fold2"], "found fold2 in both; leave it out of --train"),
        (["--train", "fold1", "fold1", "--test", "fold2"], "each subset of --train once, found fold1 twice; name it"),
        (["--pool", "mean", "frequency"], "expected one --pool without --sweep, found mean, frequency; add --sweep"),
        (["--plot", "a.png"], "expected --plot with --sweep"),
        (["--sweep", "--plot", "a.jpg"], "expected --plot as the name of a PNG, found a.jpg"),
        (["--sweep", "--layers", "2,3"], "expected numbers of layers from 1 to 2, the last one, or all, found [2, 3]"),
        (["--sweep", "--pool", "mean", "cls"], "CLS token for the pooling cls, found one without; choose mean or"),
        (["--checkpoint", str(data / "none.pt")], "expected a checkpoint"),
    ]:
        assert run(data, *arguments) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("maskspec-probe: ") and message in error
    (data / "audio" / "5.wav").write_bytes(b"no audio")
    assert run(data) == 2 and "5.wav" in capsys.readouterr().err
