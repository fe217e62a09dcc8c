"""maskspec-average on what real runs leave, and everything that takes its result."""

import json

import fairseq  # noqa: F401  # isort: skip
import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils

from maskspec_fairseq.checkpoints.read import load_autoencoder
from maskspec_fairseq.cli import average, evaluate, reconstruct
from maskspec_fairseq.data_dir.manifest import read_manifest
from tests.integration.runs import checkpoint, entries, train

KEPT = [
    "optimization.max_epoch=3", "lr_scheduler.warmup_epochs=0", "checkpoint.keep_last_epochs=3",
    "checkpoint.save_interval_updates=3", "checkpoint.keep_best_checkpoints=2",
]  # fmt: skip


def average_of(run_dir, *flags):
    """Average in the run's directory; the path of the result, its weights, and those of the files by their names."""
    directory = run_dir / "checkpoints"
    path = directory / "average.pt"
    assert average.main(["--inputs", str(directory), "--output", str(path), *flags]) == 0
    return path, torch.load(path, weights_only=True)["model"]


def assert_mean(weights, run_dir, names):
    files = [checkpoint(run_dir, name)["model"] for name in names]
    assert all(list(file) == list(weights) for file in files)
    for name, value in weights.items():
        expected = np.mean([file[name].double().numpy() for file in files], axis=0)
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-6, atol=1e-7, err_msg=name)
        if name.startswith("front_end."):
            assert torch.equal(value, files[0][name])


@pytest.fixture(scope="module")
def pretraining(data_dir, tmp_path_factory):
    """Three epochs of eight updates, with a checkpoint every three updates."""
    run_dir = tmp_path_factory.mktemp("pretraining")
    train(data_dir, run_dir, *KEPT)
    return run_dir


@pytest.fixture(scope="module")
def finetuning(labelled_dir, pretraining, tmp_path_factory):
    """The same in half precision, from the mean of the pretraining's epochs; its directory and its output."""
    path, _ = average_of(pretraining, "--num-epoch-checkpoints", "3")
    run_dir = tmp_path_factory.mktemp("finetuning")
    overrides = [*KEPT, "common.bf16=true", f"model.pretrained={path}"]
    return run_dir, train(labelled_dir, run_dir, *overrides, recipe="finetuning/demo")


def test_every_flag_finds_what_a_run_keeps(pretraining):
    _, weights = average_of(pretraining, "--num-epoch-checkpoints", "3")
    assert_mean(weights, pretraining, ["checkpoint3.pt", "checkpoint2.pt", "checkpoint1.pt"])
    _, weights = average_of(pretraining, "--num-epoch-checkpoints", "2", "--checkpoint-upper-bound", "2")
    assert_mean(weights, pretraining, ["checkpoint2.pt", "checkpoint1.pt"])
    _, weights = average_of(pretraining, "--num-update-checkpoints", "3", "--checkpoint-upper-bound", "18")
    assert_mean(weights, pretraining, ["checkpoint_3_18.pt", "checkpoint_2_15.pt", "checkpoint_2_12.pt"])
    _, weights = average_of(pretraining, "--num-best-checkpoints", "2")
    best = sorted(path.name for path in (pretraining / "checkpoints").glob("checkpoint.best_loss_*.pt"))
    assert len(best) == 2
    assert_mean(weights, pretraining, best)


@pytest.mark.stock
def test_an_average_of_pretraining_is_reconstructed_with_and_loaded_by_fairseq(pretraining, data_dir, tmp_path):
    path, weights = average_of(pretraining, "--num-epoch-checkpoints", "3")
    (model,), cfg, _ = checkpoint_utils.load_model_ensemble_and_task([str(path)])
    assert cfg.model._name == "maskspec"
    ours, _ = load_autoencoder(str(path))
    for loaded in (model, ours):
        assert all(torch.equal(value, weights[name]) for name, value in loaded.state_dict().items())
    clip, picture = read_manifest(data_dir / "valid.tsv").full_path(0), tmp_path / "r.png"
    assert reconstruct.main([clip, "--checkpoint", str(path), "--out", str(picture)]) == 0 and picture.is_file()


def test_finetuning_starts_from_an_average(finetuning, pretraining):
    run_dir, output = finetuning
    assert "starting from encoder and statistics of maskspec from" in output and "average.pt" in output
    assert len(entries(output, "valid")) >= 3
    statistics = checkpoint(pretraining)["model"]["front_end.mel_mean"]
    assert torch.equal(checkpoint(run_dir)["model"]["front_end.mel_mean"], statistics)


def test_an_average_of_finetuning_is_scored_and_loaded_by_fairseq(finetuning, labelled_dir, tmp_path):
    run_dir, _ = finetuning
    path, weights = average_of(run_dir, "--num-epoch-checkpoints", "3")
    assert_mean(weights, run_dir, ["checkpoint3.pt", "checkpoint2.pt", "checkpoint1.pt"])
    (model,), _, _ = checkpoint_utils.load_model_ensemble_and_task([str(path)])
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    arguments = ["--checkpoint", str(path), "--data", str(labelled_dir), "--subset", "valid", "--workers", "0"]
    assert evaluate.main([*arguments, "--out", str(tmp_path)]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["clips"] == 8 and 0 <= scores["scores"]["accuracy"] <= 1
    names = sorted(path.name for path in (run_dir / "checkpoints").glob("checkpoint.best_accuracy_*.pt"))
    _, best = average_of(run_dir, "--num-best-checkpoints", "1")
    assert_mean(best, run_dir, names[-1:])


def test_a_run_goes_on_from_an_average(finetuning, labelled_dir, tmp_path):
    """In half precision, too, from the mean and not from the newest master weights: with no step they are saved."""
    run_dir, _ = finetuning
    path, weights = average_of(run_dir, "--num-epoch-checkpoints", "3")
    overrides = [*KEPT, "common.bf16=true", f"checkpoint.restore_file={path}", "optimization.max_epoch=4",
                 "optimization.lr=[0.0]"]  # fmt: skip
    output = train(labelled_dir, tmp_path, *overrides, recipe="finetuning/demo")
    assert [entry["num_updates"] for entry in entries(output, "train_inner")] == [str(n) for n in range(25, 33)]
    newest = checkpoint(run_dir)["model"]
    for name, value in checkpoint(tmp_path)["model"].items():
        expected = weights[name] if name.startswith("front_end.") else weights[name].bfloat16().float()
        assert torch.equal(value, expected), name
    assert any(not torch.equal(newest[name], value.bfloat16().float()) for name, value in weights.items())
