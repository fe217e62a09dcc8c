"""Several processes over gloo on a CPU, as fairseq drives several GPUs, against one."""

import shutil

import pytest
import torch

from maskspec_fairseq.data_dir.manifest import Manifest, read_manifest, write_manifest
from tests.integration.runs import checkpoint, entries, train, train_in_parallel

# 20 clips are seven batches of three, the last of two; an update has up to six batches, the last of an epoch one.
# 8 held-out clips are a batch of six and one of two: of three processes the third has nothing to validate.
NUM_CLIPS, BATCHES_AN_UPDATE = 20, 6
SHARED = ["optimization.max_epoch=3", "lr_scheduler.warmup_epochs=0", "dataset.batch_size_valid=6"]
STAGES = {
    "pretraining/demo": (
        [*SHARED, "model.decoder_share=0.5", "model.decoder_attention=cross"], ["loss", "baseline_loss", "masked_share"]
    ),
    "finetuning/demo": (
        [*SHARED, "task.roll_sec=0.1", "model.patchout=0.2", "model.spec_augment_bins=16", "model.drop_path=0.1"],
        ["loss", "accuracy", "class_mean_accuracy"],
    ),
    "finetuning/demo of several classes": (
        [*SHARED, "task.roll_sec=0.1", "task.target_is_multilabel=true", "checkpoint.best_checkpoint_metric=mAP",
         "task.clip_sampling=psla", "task.num_draws=18"],
        ["loss", "mAP", "mean_auc", "d_prime"],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def data(labelled_dir, tmp_path_factory):
    directory = tmp_path_factory.mktemp("parallel") / "data"
    shutil.copytree(labelled_dir, directory)
    clips = read_manifest(directory / "train.tsv")
    write_manifest(
        directory / "train.tsv", Manifest(clips.root, list(clips.paths)[:NUM_CLIPS], list(clips.frames)[:NUM_CLIPS])
    )
    labels = (directory / "train.lbl").read_text().splitlines(keepends=True)
    (directory / "train.lbl").write_text("".join(labels[:NUM_CLIPS]))
    return directory


@pytest.fixture(scope="module")
def in_one_process(data, tmp_path_factory):
    """Run directory and output of a stage, trained once."""
    runs = {}

    def train_once(stage):
        if stage not in runs:
            run_dir = tmp_path_factory.mktemp("one")
            overrides = [*STAGES[stage][0], f"optimization.update_freq=[{BATCHES_AN_UPDATE}]"]
            runs[stage] = run_dir, train(data, run_dir, *overrides, recipe=stage.split(" ")[0])
        return runs[stage]

    return train_once


@pytest.mark.parametrize(
    "stage, num_processes",
    [
        ("pretraining/demo", 2),
        pytest.param("pretraining/demo", 3, marks=pytest.mark.slow),
        pytest.param("finetuning/demo", 2, marks=pytest.mark.slow),
        pytest.param("finetuning/demo", 3, marks=pytest.mark.slow),
        ("finetuning/demo of several classes", 3),
    ],
)
def test_several_processes_train_and_validate_as_one(data, in_one_process, tmp_path, stage, num_processes):
    """Six updates: the parameters agree to rounding, what is logged to the digits that are logged."""
    whole, output = in_one_process(stage)
    overrides = [*STAGES[stage][0], f"optimization.update_freq=[{BATCHES_AN_UPDATE // num_processes}]"]
    parallel = train_in_parallel(data, tmp_path, num_processes, *overrides, recipe=stage.split(" ")[0])
    updates, others = entries(output, "train_inner"), entries(parallel, "train_inner")
    assert len(updates) == len(others) >= 3
    for ours, theirs in zip(updates, others):
        for name in set(STAGES[stage][1]) & set(ours):
            assert float(ours[name]) == pytest.approx(float(theirs[name]), abs=2e-5)
        assert ours["lr"] == theirs["lr"] and float(ours["bsz"]) == float(theirs["bsz"])
    for ours, theirs in zip(entries(output, "valid"), entries(parallel, "valid")):
        for name in STAGES[stage][1]:
            assert float(ours[f"valid_{name}"]) == pytest.approx(float(theirs[f"valid_{name}"]), abs=2e-5)
    expected, found = checkpoint(whole)["model"], checkpoint(tmp_path)["model"]
    for name, value in expected.items():
        other = found[name]
        if name.endswith("qkv.bias"):
            # softmax does not see the keys' bias: its gradient is rounding, which Adam blows up
            value, other = (torch.cat(bias.chunk(3)[::2]) for bias in (value, other))
        assert torch.allclose(value, other, atol=2e-5), name


@pytest.mark.stock
def test_several_processes_resume(data, tmp_path):
    """All ranks read the checkpoint that one of them wrote."""
    shared = ["optimization.max_epoch=2", "lr_scheduler.warmup_epochs=0"]
    train_in_parallel(data, tmp_path, 2, *shared, "optimization.max_update=5")
    output = train_in_parallel(data, tmp_path, 2, *shared)
    # 2 epochs of 20 / (2 x 3)
    assert [entry["num_updates"] for entry in entries(output, "train_inner")] == ["6", "7", "8"]


def test_a_run_of_two_processes_resumes_within_an_epoch_in_one(data, tmp_path):
    """Two updates of 2 x 3 of the 20 clips, then the 8 that are left by one process, and an epoch of all."""
    shared = ["optimization.max_epoch=2", "lr_scheduler.warmup_epochs=0"]
    train_in_parallel(data, tmp_path, 2, *shared, "optimization.max_update=2")
    output = train(data, tmp_path, *shared, "optimization.update_freq=[2]")
    assert f"8 of its {NUM_CLIPS} clips are left" in output
    updates = entries(output, "train_inner")
    assert [sum(float(entry["bsz"]) for entry in updates if entry["epoch"] == epoch) for epoch in (1, 2)] == [8, 20]
