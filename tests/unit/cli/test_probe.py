import json

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

from maskspec_fairseq.cli import probe
from maskspec_fairseq.data_dir.labels import ClipLabels, Label, write_labels, write_vocabulary
from maskspec_fairseq.data_dir.manifest import Manifest, write_manifest
from maskspec_fairseq.inference.export_folder import write_folder
from maskspec_fairseq.inference.probes import PROBES
from maskspec_fairseq.inference.probing import random_weights
from maskspec_fairseq.metrics import accuracy, multilabel_scores
from tests.factories import small_audio_model, write_tone

KEYS = ["low", "middle", "high"]


def blobs(seed: int, clips: int = 60):
    """Features about one of three corners, and the corners."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(3, size=clips)
    return 5 * np.eye(3)[classes] + rng.standard_normal((clips, 3)), classes


@pytest.mark.parametrize("kind", PROBES)
def test_corners_are_told_apart_and_noise_is_not(kind):
    (features, classes), (others, expected) = blobs(0), blobs(1)
    target, known = np.eye(3, dtype=bool)[classes], np.ones((60, 3), dtype=bool)
    assert accuracy(PROBES[kind](features, target, known, False, others), expected) > 0.95
    several = PROBES[kind](features, target, known, True, others)
    assert multilabel_scores(several, np.eye(3, dtype=bool)[expected], known).mean_average_precision > 0.95
    shuffled = np.random.default_rng(2).permutation(target)
    assert accuracy(PROBES[kind](features, shuffled, known, False, others), expected) < 0.6


@pytest.mark.parametrize("kind", PROBES)
def test_what_is_unknown_does_not_teach(kind):
    """Wrong targets that are marked as unknown do no harm, and a class that no clip has is never chosen."""
    (features, classes), (others, expected) = blobs(0), blobs(1)
    target = np.eye(4, dtype=bool)[classes]
    known = np.ones_like(target)
    known[:20], target[:20] = False, np.eye(4, dtype=bool)[3]
    scores = PROBES[kind](features, target, known, True, others)
    assert accuracy_score(expected, scores[:, :3].argmax(1)) > 0.95
    assert accuracy(PROBES[kind](features[20:], target[20:], known[20:], False, others), expected) > 0.95


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


def test_random_encoder_has_the_statistics_and_other_weights():
    model = small_audio_model([])
    other = random_weights(model)
    assert torch.equal(other.network.front_end.mel_std, model.network.front_end.mel_std)
    assert not torch.equal(other.network.encoder.patch_embed.weight, model.network.encoder.patch_embed.weight)


def test_what_is_missing_is_named(data, capsys):
    for arguments, message in [
        (["--train", "fold1"], "or --train SUBSET and --test SUBSET"),
        (["--train", "fold1", "--test", "fold9"], "fold9.tsv"),
        (["--checkpoint", str(data / "none.pt")], "expected a checkpoint"),
    ]:
        assert run(data, *arguments) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("maskspec-probe: ") and message in error
    (data / "audio" / "5.wav").write_bytes(b"no audio")
    assert run(data) == 2 and "5.wav" in capsys.readouterr().err
