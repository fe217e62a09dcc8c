import contextlib
import os
import re
import shutil
import time
from pathlib import Path

import pytest
import torch

from maskspec_fairseq.cli import build, plot_loss, reconstruct
from maskspec_fairseq.data_dir.manifest import Manifest, read_manifest, write_manifest
from tests.factories import REPOSITORY
from tests.integration.forked import training_process
from tests.integration.runs import checkpoint, entries, train, training_arguments


@pytest.fixture()
def spoiled_data(data_dir, tmp_path):
    """The data with one of the training clips gone since the manifest was written."""
    shutil.copytree(data_dir, tmp_path / "data", ignore=shutil.ignore_patterns("audio"))
    manifest = read_manifest(tmp_path / "data" / "train.tsv")
    paths = ["gone.wav" if index == 7 else path for index, path in enumerate(manifest.paths)]
    write_manifest(tmp_path / "data" / "train.tsv", Manifest(manifest.root, paths, manifest.frames))
    return tmp_path / "data"


@pytest.mark.stock
def test_smoke_pretraining_learns_and_saves(whole_run):
    """The loss falls under that of predicting the mean, on held-out clips too."""
    run_dir, output = whole_run
    validations = entries(output, "valid")
    assert len(validations) == 8
    last = validations[-1]
    assert float(last["valid_loss"]) < 0.8 * float(last["valid_baseline_loss"])
    assert float(last["valid_loss"]) < float(validations[0]["valid_loss"])
    assert len({entry["valid_baseline_loss"] for entry in validations}) == 1  # the same clips and masks every time
    for entry in entries(output, "train_inner"):
        assert float(entry["masked_share"]) == 0.75
        assert {"loss", "baseline_loss", "gnorm", "clips_per_sec", "lr"} <= set(entry)
    for name in ("checkpoint_last.pt", "checkpoint_best.pt", "checkpoint8.pt"):
        assert (run_dir / "checkpoints" / name).is_file()
    assert (run_dir / "hydra_train.log").is_file()


@pytest.mark.stock
def test_learning_rate_is_exact_per_update(whole_run):
    rates = [float(entry["lr"]) for entry in entries(whole_run[1], "train_inner")]
    assert rates[:15] == pytest.approx([5e-3 * (n + 2) / 16 for n in range(15)], rel=1e-4)  # 2 epochs of 8 updates
    assert (
        rates[15] == pytest.approx(5e-3) and rates[-1] == 0 and rates == sorted(rates[:16]) + sorted(rates[16:])[::-1]
    )


@pytest.mark.stock
def test_a_checkpoint_to_restore_is_named_from_the_launch_directory(whole_run, data_dir, tmp_path):
    path = os.path.relpath(whole_run[0] / "checkpoints" / "checkpoint_last.pt", REPOSITORY)
    shared = ["optimization.max_epoch=8"]
    output = train(data_dir, tmp_path, *shared, f"checkpoint.restore_file={path}")
    assert re.search(r"Loaded checkpoint /\S+/checkpoint_last.pt \(epoch 9 @ 64 updates\)", output)
    output = train(data_dir, tmp_path, *shared, f"checkpoint.restore_file={path}.none", fails=True)
    assert "checkpoint_last.pt.none: expected a checkpoint of a maskspec run, found no such file" in output


@pytest.mark.stock
@pytest.mark.parametrize("stop_at", [24, 29], ids=["epoch", "mid-epoch"])
def test_resumed_run_ends_like_an_uninterrupted_one(whole_run, data_dir, tmp_path, stop_at):
    run_dir, output = whole_run
    first = train(data_dir, tmp_path, "optimization.max_epoch=8", f"optimization.max_update={stop_at}")
    second = train(data_dir, tmp_path, "optimization.max_epoch=8")
    losses = [
        {entry["num_updates"]: (entry["loss"], entry["lr"], entry["gnorm"]) for entry in entries(text, "train_inner")}
        for text in (output, first, second)
    ]
    assert len(losses[0]) == 64 and len(losses[1]) == stop_at and len(losses[2]) == 64 - stop_at
    assert {**losses[1], **losses[2]} == losses[0]
    whole, resumed = checkpoint(run_dir), checkpoint(tmp_path)
    for name, value in whole["model"].items():
        assert torch.equal(value, resumed["model"][name]), name
    moments = [state["last_optimizer_state"]["state"] for state in (whole, resumed)]
    assert all(torch.equal(moments[0][i]["exp_avg_sq"], moments[1][i]["exp_avg_sq"]) for i in moments[0])


@pytest.mark.stock
def test_checkpoint_is_data_and_loads_without_the_corpus(whole_run):
    import fairseq  # noqa: F401
    from fairseq import checkpoint_utils

    state = checkpoint(whole_run[0])  # weights_only
    assert state["model"]["front_end.mel_mean"].abs().sum() > 0
    assert not any("window" in name or "mel_banks" in name for name in state["model"])
    (model,), cfg, _ = checkpoint_utils.load_model_ensemble_and_task(
        [str(whole_run[0] / "checkpoints" / "checkpoint_last.pt")], arg_overrides={"task": {"data": "/nowhere"}}
    )
    assert type(model).__name__ == "MaskSpecModel" and cfg.model.encoder_embed_dim == 64
    assert torch.equal(model.front_end.mel_std, state["model"]["front_end.mel_std"])


def test_a_file_that_fails_ends_the_run_with_its_path(spoiled_data, tmp_path):
    output = train(
        spoiled_data, tmp_path / "run", "optimization.max_epoch=1", "lr_scheduler.warmup_epochs=0", fails=True
    )
    assert "AudioError" in output and "gone.wav: expected audio that soundfile decodes" in output


def test_skipping_replaces_counts_and_ends_over_one_percent(spoiled_data, tmp_path):
    # the one clip of 24 is over 1 %
    output = train(
        spoiled_data,
        tmp_path / "run",
        "task.on_bad_audio=skip",
        "optimization.max_epoch=1",
        "lr_scheduler.warmup_epochs=0",
        fails=True,
    )
    assert "replaced by another clip:" in output and "gone.wav" in output
    assert "expected at most 1% of the clips to be unreadable, found 1 of 24" in output
    manifest = read_manifest(spoiled_data / "train.tsv")
    paths = list(manifest.paths) * 5
    paths = [p if p != "gone.wav" or i == 7 else paths[0] for i, p in enumerate(paths)]
    write_manifest(spoiled_data / "train.tsv", Manifest(manifest.root, paths, [*manifest.frames] * 5))  # 1 of 120
    output = train(
        spoiled_data,
        tmp_path / "other",
        "task.on_bad_audio=skip",
        "optimization.max_epoch=1",
        "lr_scheduler.warmup_epochs=0",
    )
    assert [entry["train_replaced"] for entry in entries(output, "train")] == ["1"]


@pytest.mark.stock
@pytest.mark.parametrize(
    "override, message",
    [
        ("model.mask_ratio=0.99", "expected mask_ratio in [0.05, 0.95], found 0.99"),
        ("model.decoder_share=0", "expected model.decoder_share above 0 and at most 1, found 0"),
        ("model.front_end=reference", "expected log-mel statistics of the front end 'reference'"),
        ("task.data=/nowhere", "expected a directory with manifests as task.data, found none at /nowhere"),
        ("dataset.train_subset=fold1", "found only the subsets train, valid there"),
        ("lr_scheduler.warmup_epochs=99", "expected lr_scheduler.warmup_epochs from 0 to below"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_words_before_the_first_step(data_dir, tmp_path, override, message):
    output = train(data_dir, tmp_path, *override.split(), fails=True)
    assert message in output and not entries(output, "train_inner")


@pytest.mark.stock
def test_half_precision_resumes_at_the_same_numbers(data_dir, tmp_path):
    """The float32 master weights are saved: without them the resumed run starts from rounded ones."""
    shared = ["common.bf16=true", "optimization.max_epoch=2"]
    whole = train(data_dir, tmp_path / "whole", *shared, "lr_scheduler.warmup_epochs=0")
    first = train(data_dir, tmp_path / "parts", *shared, "lr_scheduler.warmup_epochs=0", "optimization.max_update=11")
    second = train(data_dir, tmp_path / "parts", *shared, "lr_scheduler.warmup_epochs=0")
    losses = [
        [(entry["num_updates"], entry["loss"], entry["gnorm"]) for entry in entries(text, "train_inner")]
        for text in (whole, first, second)
    ]
    assert len(losses[0]) == 16 and losses[0] == losses[1] + losses[2]
    states = [checkpoint(tmp_path / name)["last_optimizer_state"]["master"] for name in ("whole", "parts")]
    assert len(states[0]) == len(states[1]) and all(torch.equal(a, b) for a, b in zip(*states))
    assert any(not torch.equal(value, value.bfloat16().float()) for value in states[0])
    assert float(entries(whole, "valid")[-1]["valid_loss"]) < float(entries(whole, "train_inner")[0]["loss"])


def test_the_released_codes_recipe_runs(data_dir, tmp_path):
    """maskspec_base_reference with a small model: front end, random mel range, CLS token, normalised targets."""
    shutil.copytree(data_dir, tmp_path / "data", ignore=shutil.ignore_patterns("audio"))
    assert build.main(["stats", str(tmp_path / "data"), "--front-end", "reference"]) == 0
    output = train(
        tmp_path / "data",
        tmp_path / "run",
        "optimization.max_epoch=3",
        "lr_scheduler.warmup_epochs=0",
        recipe="pretraining/maskspec_base_reference",
    )
    state = checkpoint(tmp_path / "run")
    assert "encoder.cls_token" in state["model"] and state["cfg"]["model"]["mel_jitter"]
    losses = [float(entry["valid_loss"]) for entry in entries(output, "valid")]
    assert losses[-1] < losses[0]
    # every patch has a mean of 0 and a deviation of 1, but for those of an empty band, where there is nothing to divide
    assert 0.8 < float(entries(output, "valid")[-1]["valid_baseline_loss"]) <= 1


@pytest.mark.stock
def test_loader_processes_do_not_outlive_their_epoch(data_dir, tmp_path):
    """Else a long run would gather them, one set an epoch."""
    overrides = ["dataset.num_workers=1", "optimization.max_epoch=4", "lr_scheduler.warmup_epochs=0"]
    log = tmp_path / "output.log"
    process = training_process(str(log), training_arguments(data_dir, tmp_path / "run", *overrides))
    counts = []
    while process.poll() is None:
        with contextlib.suppress(OSError):  # it has ended
            threads = list(Path(f"/proc/{process.pid}/task").iterdir())  # any of them may have started a loader
            counts.append(sum(len((thread / "children").read_text().split()) for thread in threads))
        time.sleep(0.02)
    assert process.wait() == 0, log.read_text()[-3000:]
    assert 1 <= max(counts) <= 2  # of training, and of validation


def test_pictures_of_a_run(whole_run, data_dir, tmp_path, capsys):
    run_dir, output = whole_run
    path = read_manifest(data_dir / "valid.tsv").full_path(0)
    picture = tmp_path / "r.png"
    arguments = [path, "--checkpoint", str(run_dir / "checkpoints" / "checkpoint_last.pt"), "--out", str(picture)]
    assert reconstruct.main(arguments) == 0
    assert (
        picture.read_bytes().startswith(b"\x89PNG")
        and "squared error per masked value: model" in capsys.readouterr().out
    )
    curve = tmp_path / "loss.png"
    assert plot_loss.main([str(run_dir / "hydra_train.log"), "--out", str(curve)]) == 0
    last = entries(output, "valid")[-1]
    assert f"valid loss {float(last['valid_loss']):.4f} at epoch 8" in capsys.readouterr().out
    assert curve.read_bytes().startswith(b"\x89PNG")
