"""Finetuning as a user does it, from the pretraining of conftest.py."""

import importlib.util
import json
import os
import re
import shutil

import pytest
import torch

from maskspec_fairseq.cli import evaluate
from tests.factories import load_classifier
from tests.integration.forked import REPOSITORY, ForkedProcess, fairseq_program
from tests.integration.runs import checkpoint, entries, train

RECIPE = "finetuning/demo"
SHARED = ["optimization.max_epoch=4", "lr_scheduler.warmup_epochs=1", "task.roll_sec=0.1"]
AUGMENTED = [
    *SHARED, "task.gain_db=6", "model.spec_augment_bins=16", "model.spec_augment_frames=16",
    "model.patchout=0.25", "model.drop_path=0.1", "criterion.label_smoothing=0.1",
]  # fmt: skip


@pytest.fixture(scope="module")
def pretrained(whole_run):
    return f"model.pretrained={whole_run[0]}/checkpoints/checkpoint_last.pt"


@pytest.fixture(scope="module")
def finetuned(labelled_dir, pretrained, tmp_path_factory):
    """Four epochs with every augmentation, its run directory and its output."""
    run_dir = tmp_path_factory.mktemp("finetuned")
    return run_dir, train(labelled_dir, run_dir, *AUGMENTED, pretrained, recipe=RECIPE)


@pytest.mark.stock
def test_finetuning_validates_and_saves(finetuned, whole_run):
    run_dir, output = finetuned
    assert "starting from encoder and statistics of maskspec from" in output
    assert "learning rate from x 0.42188 in layer 0 to x 1 in layer 3 (the head)" in output
    validations = entries(output, "valid")
    assert len(validations) == 4
    best = max(float(entry["valid_accuracy"]) for entry in validations)
    assert float(validations[-1]["valid_best_accuracy"]) == best
    state = checkpoint(run_dir, "checkpoint_best.pt")
    assert state["extra_state"]["best"] == best and state["cfg"]["model"]["label_keys"] == ["low", "middle", "high"]
    assert not any(name.startswith("decoder") for name in state["model"])
    statistics = checkpoint(whole_run[0])["model"]["front_end.mel_mean"]
    assert torch.equal(state["model"]["front_end.mel_mean"], statistics)


def validated(data, checkpoint, output, program):
    """Exit code and output of fairseq's program."""
    arguments = {
        "validate": [
            str(data), "--user-dir", f"{REPOSITORY}/maskspec_fairseq", "--task", "maskspec_finetuning",
            "--path", str(checkpoint), "--batch-size", "3", "--cpu",
        ],
        "hydra_validate": [
            "--config-dir", "config/finetuning", "--config-name", "demo", f"task.data={data}", "dataset.batch_size=3",
            f"common_eval.path={checkpoint}", f"hydra.run.dir={output}_run", "common.log_interval=1",
        ],
    }[program]  # fmt: skip
    return ForkedProcess(str(output), fairseq_program, program, arguments).wait(), output.read_text()


@pytest.mark.stock
@pytest.mark.parametrize("program", ["validate", "hydra_validate"])
def test_fairseqs_validation_prints_the_scores_of_the_run(finetuned, labelled_dir, tmp_path, program):
    if importlib.util.find_spec(f"fairseq_cli.{program}") is None:
        pytest.skip(f"this fairseq has no {program}")
    run_dir, output = finetuned
    code, printed = validated(labelled_dir, run_dir / "checkpoints/checkpoint_last.pt", tmp_path / "out", program)
    assert code == 0, printed[-3000:]
    last = entries(output, "valid")[-1]
    for name in ("accuracy", "class_mean_accuracy", "loss"):
        found = re.findall(rf'\b(?:valid_)?{name}(?:": "| )([0-9.]+)', printed)
        assert float(found[-1]) == pytest.approx(float(last[f"valid_{name}"]), abs=1e-5), name


@pytest.mark.stock
def test_fairseqs_validation_refuses_a_converted_checkpoint_in_words(finetuned, labelled_dir, tmp_path):
    state = checkpoint(finetuned[0])
    task = {name: state["cfg"]["task"][name] for name in ("_name", "sample_rate", "clip_sec", "channel")}
    state["cfg"] = {"_name": None, "model": state["cfg"]["model"], "task": {**task, "data": ""}, "criterion": None}
    torch.save(state, tmp_path / "converted.pt")
    code, printed = validated(labelled_dir, tmp_path / "converted.pt", tmp_path / "out", "validate")
    assert code and "found one of maskspec-convert, which has no criterion; score it with maskspec-evaluate" in printed


def test_finetuning_learns_the_clips_that_it_sees(labelled_dir, pretrained, tmp_path):
    """Without augmentation; 24 clips say little about others."""
    plain = ["task.wave_mixup=0.0", "task.spec_mixup_alpha=0.0", "task.roll_sec=0.0", "optimizer.layer_decay=1.0"]
    output = train(labelled_dir, tmp_path, *plain, "optimization.max_epoch=20", pretrained, recipe=RECIPE)
    losses = [float(entry["train_loss"]) for entry in entries(output, "train")]
    assert losses[-1] < 0.5 * losses[0] < 0.6  # ln 3 is 1.1


@pytest.mark.parametrize("pool, vectors", [("mean", 1), ("frequency+max", 16)])
def test_evaluate_agrees_with_the_validation_in_training(pretrained, labelled_dir, tmp_path, pool, vectors):
    """On clips that are no longer than the model's 1 s: of longer ones training takes the beginning."""
    data = shutil.copytree(labelled_dir, tmp_path / "data")
    for suffix in ("tsv", "lbl"):
        lines = (data / f"valid.{suffix}").read_text().splitlines(keepends=True)
        lines.pop(-5)  # clip 27, of 2 s
        (data / f"valid.{suffix}").write_text("".join(lines))
    fields = ["optimization.max_epoch=1", "lr_scheduler.warmup_epochs=0", pretrained]
    fields += [f"model.pool={pool}", "model.patchout=0.25"]
    (last,) = entries(train(data, tmp_path / "run", *fields, recipe=RECIPE), "valid")
    path = str(tmp_path / "run" / "checkpoints" / "checkpoint_last.pt")
    model, _ = load_classifier(path)  # without the pretrained one
    assert model.head.in_features == vectors * 64
    arguments = ["--data", str(data), "--subset", "valid", "--workers", "0", "--out", str(tmp_path / "scores")]
    assert evaluate.main(["--checkpoint", path, *arguments]) == 0
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert scores["clips"] == scores["clips_listed"] == 7
    for name in ("accuracy", "class_mean_accuracy"):
        assert scores["scores"][name] == float(last[f"valid_{name}"])


@pytest.mark.stock
def test_resumed_finetuning_ends_like_an_uninterrupted_one(finetuned, labelled_dir, pretrained, tmp_path):
    run_dir, output = finetuned
    copy = shutil.copy(pretrained.partition("=")[2], tmp_path / "pretrained.pt")
    overrides = [*AUGMENTED, f"model.pretrained={copy}"]
    first = train(labelled_dir, tmp_path, *overrides, "optimization.max_update=19", recipe=RECIPE)
    os.remove(copy)  # it is not needed any more
    second = train(labelled_dir, tmp_path, *overrides, recipe=RECIPE)
    losses = [
        [(entry["num_updates"], entry["loss"], entry["lr"]) for entry in entries(text, "train_inner")]
        for text in (output, first, second)
    ]
    assert len(losses[0]) == 32 and losses[0] == losses[1] + losses[2]
    whole, resumed = checkpoint(run_dir)["model"], checkpoint(tmp_path)["model"]
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


@pytest.mark.stock
def test_a_finished_run_is_not_taken_for_one_from_another_start(finetuned, labelled_dir):
    run_dir, _ = finetuned
    output = train(labelled_dir, run_dir, *AUGMENTED, recipe=RECIPE, fails=True)
    assert (
        f"{run_dir}/checkpoints: expected the run that has been trained there, found another one (model.pre" in output
    )
    assert "found none); choose another hydra.run.dir" in output and "done training" not in output


@pytest.mark.stock
def test_a_finetuned_model_is_finetuned_on_other_classes(finetuned, labelled_dir, tmp_path):
    """The paper's second stage: the head is new, several classes per clip."""
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train.tsv", "valid.tsv"):
        (data / name).write_text((labelled_dir / name).read_text())
    for name in ("train.lbl", "valid.lbl"):
        (data / name).write_text((labelled_dir / name).read_text().replace("middle", "low,high"))
    (data / "labels.csv").write_text("index,mid,display_name\n0,high,High\n1,low,Low\n2,loud,Loud\n")
    output = train(
        data, tmp_path / "run", "optimization.max_epoch=1", "lr_scheduler.warmup_epochs=0",
        f"model.pretrained={finetuned[0]}/checkpoints/checkpoint_last.pt", "task.target_is_multilabel=true",
        "checkpoint.best_checkpoint_metric=mAP", recipe=RECIPE,
    )  # fmt: skip
    assert "starting from encoder and statistics of maskspec_classifier" in output and "new head for 3" in output
    (entry,) = entries(output, "valid")
    assert 0 < float(entry["valid_mAP"]) <= 1 and "valid_mean_auc" in entry
    code, printed = validated(data, tmp_path / "run/checkpoints/checkpoint_last.pt", tmp_path / "out", "validate")
    (found,) = re.findall(r"\| mAP (\S+) ", printed)
    assert code == 0 and float(found) == pytest.approx(float(entry["valid_mAP"]), abs=1e-5)


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["task.fold=3"], "expected fold 3 (task.fold) and others, found folds 1, 2"),
        (["model.pretrained=none.pt"], "none.pt: expected a checkpoint of a maskspec run, found no such file"),
        (["model.pool=cls"], "expected an encoder with a CLS token for the pooling cls, found one without"),
        (["model.patch_size=8", "PRETRAINED"], "(patch_size: expected 8, found 16)"),
        (["task.target_is_multilabel=true", "checkpoint.best_checkpoint_metric=mAP", "task.clip_sampling=psla",
          "task.num_draws=99"], "expected 1 to 24 draws per epoch"),
    ],
)  # fmt: skip
def test_what_cannot_be_finetuned_is_refused_in_words(labelled_dir, pretrained, tmp_path, overrides, message):
    overrides = [pretrained if field == "PRETRAINED" else field for field in overrides]
    output = train(labelled_dir, tmp_path, *overrides, recipe=RECIPE, fails=True)
    assert message in output and not entries(output, "train_inner")
