"""A head of frames in real runs, with all that changes its clips, patches and pooling together."""

import json
import re
import shutil

import pytest
import torch

from maskspec_fairseq.cli import average, evaluate, export
from maskspec_fairseq.data_dir.manifest import read_manifest
from tests.factories import REPOSITORY
from tests.integration.forked import ForkedProcess, fairseq_program
from tests.integration.runs import checkpoint, entries, train

RECIPE = "finetuning/demo"
FIELDS = [
    "task.target_is_multilabel=true", "model.head=frames", "model.patch_size=[16,4]", "model.pool=frequency",
    "task.wave_mixup=0.5", "task.spec_mixup_alpha=0.3", "task.roll_sec=0.3", "task.gain_db=3",
    "task.clip_sampling=psla", "task.num_draws=12", "model.freeze_updates=2", "model.spec_augment_frames=16",
    "checkpoint.best_checkpoint_metric=mAP", "checkpoint.keep_last_epochs=2", "optimization.max_epoch=2",
    "lr_scheduler.warmup_epochs=0",
]  # fmt: skip


@pytest.fixture(scope="module")
def events_dir(labelled_dir, tmp_path_factory):
    """Every clip sounds in its second quarter; of the first of a subset it is unknown when, the second has no label."""
    data = shutil.copytree(labelled_dir, tmp_path_factory.mktemp("events") / "data")
    for subset in ("train", "valid"):
        keys = (data / f"{subset}.lbl").read_text().split()
        keys[1] = ""
        (data / f"{subset}.lbl").write_text("".join(f"{key}\n" for key in keys))
        frames = read_manifest(data / f"{subset}.tsv").frames.tolist()
        lines = [f"{n // 4}:{n // 2}:{key}" if key else "" for n, key in zip(frames, keys)]
        (data / f"{subset}.events").write_text("".join(f"{line}\n" for line in ["", *lines[1:]]))
    return data


@pytest.fixture(scope="module")
def finetuned(events_dir, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("finetuned")
    return run_dir, train(events_dir, run_dir, *FIELDS, recipe=RECIPE)


@pytest.mark.stock
def test_a_run_that_resumes_ends_like_an_uninterrupted_one(events_dir, finetuned, tmp_path):
    for limit in (["optimization.max_update=5"], []):
        train(events_dir, tmp_path, *FIELDS, *limit, recipe=RECIPE)
    whole, resumed = checkpoint(finetuned[0]), checkpoint(tmp_path)
    assert whole["model"].keys() == resumed["model"].keys()
    assert all(torch.equal(value, resumed["model"][name]) for name, value in whole["model"].items())
    states = [state["last_optimizer_state"]["state"] for state in (whole, resumed)]
    for number, values in states[0].items():
        assert all(torch.equal(torch.as_tensor(value), torch.as_tensor(states[1][number][name]))
                   for name, value in values.items())  # fmt: skip


@pytest.mark.stock
def test_fairseqs_validation_prints_the_scores_of_the_run(events_dir, finetuned, tmp_path):
    run_dir, output = finetuned
    arguments = [
        str(events_dir), "--user-dir", f"{REPOSITORY}/maskspec_fairseq", "--task", "maskspec_finetuning",
        "--path", f"{run_dir}/checkpoints/checkpoint_last.pt", "--batch-size", "3", "--cpu",
    ]  # fmt: skip
    printed = tmp_path / "out"
    assert ForkedProcess(str(printed), fairseq_program, "validate", arguments).wait() == 0, printed.read_text()[-3000:]
    last = entries(output, "valid")[-1]
    for name in ("mAP", "loss"):
        found = re.findall(rf'\b(?:valid_)?{name}(?:": "| )([0-9.]+)', printed.read_text())
        assert float(found[-1]) == pytest.approx(float(last[f"valid_{name}"]), abs=1e-5), name


def test_the_mean_of_checkpoints_and_its_folder_are_evaluated_alike(events_dir, finetuned, tmp_path):
    directory, path, folder = finetuned[0] / "checkpoints", tmp_path / "average.pt", tmp_path / "folder"
    inputs = [f"{directory}/checkpoint{name}.pt" for name in ("1", "2")]
    assert average.main(["--inputs", *inputs, "--output", str(path)]) == 0
    assert export.main(["--checkpoint", str(path), "--out", str(folder)]) == 0
    scores = []
    for model in (path, folder):
        arguments = ["--checkpoint", str(model), "--data", str(events_dir), "--subset", "valid", "--workers", "0"]
        out = tmp_path / f"scores_{model.stem}"
        assert evaluate.main([*arguments, "--threshold", "0", "--device", "cpu", "--out", str(out)]) == 0
        scores.append(json.loads((out / "scores.json").read_text())["scores"])
    assert scores[0] == scores[1] and 0 < scores[0]["segment_f1"] < 1
