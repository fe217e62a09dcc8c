"""Runs that are killed, or whose disk is full, and the same command again."""

import os
import random
import re
import tempfile
import time
from pathlib import Path

import pytest
import torch

from tests.integration.forked import training_process
from tests.integration.runs import checkpoint, entries, train, training_arguments

EPOCHS, UPDATES_PER_EPOCH = 3, 8
SHARED = [f"optimization.max_epoch={EPOCHS}", "lr_scheduler.warmup_epochs=1", "checkpoint.save_interval_updates=3"]
# the recipe's mixup of waveforms and of log-mels, and weighted draws of all 24 clips
STAGES = {
    "pretraining/demo": SHARED,
    "finetuning/demo": [
        *SHARED, "task.roll_sec=0.1", "task.clip_sampling=psla", "task.num_draws=24", "model.drop_path=0.1"
    ],
}  # fmt: skip


def train_until(reached, data: Path, run_dir: Path, *overrides: str, recipe: str) -> None:
    """Run, and SIGKILL the process and its loaders as soon as `reached(output)`."""
    with tempfile.NamedTemporaryFile("r") as output:
        process = training_process(output.name, training_arguments(data, run_dir, *overrides, recipe=recipe))
        text = ""
        while process.poll() is None and not reached(text):
            time.sleep(0.005)
            text += output.read()
        assert process.poll() is None, text[-3000:]
        process.kill()


def at_update(number: int):
    return lambda text: any(entry["num_updates"] == str(number) for entry in entries(text, "train_inner"))


def while_writing(run_dir: Path, name: str):
    """As soon as fairseq has begun with a file, which it copies to checkpoint_last.pt later."""
    folder = run_dir / "checkpoints"
    return lambda text: any((folder / file).exists() for file in (name, f"{name}.tmp"))


@pytest.mark.parametrize(
    "recipe, num_workers",
    [
        ("pretraining/demo", 0),
        pytest.param("pretraining/demo", 2, marks=pytest.mark.slow),
        pytest.param("finetuning/demo", 0, marks=pytest.mark.slow),
        ("finetuning/demo", 2),
    ],
)
def test_a_run_that_is_killed_ends_bit_for_bit_like_an_uninterrupted_one(labelled_dir, tmp_path, recipe, num_workers):
    overrides = [*STAGES[recipe], f"dataset.num_workers={num_workers}"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(labelled_dir, whole, *overrides, recipe=recipe)
    update = random.Random(f"{recipe} {num_workers}").randrange(1, UPDATES_PER_EPOCH)
    train_until(at_update(update), labelled_dir, killed, *overrides, recipe=recipe)
    train_until(while_writing(killed, "checkpoint2.pt"), labelled_dir, killed, *overrides, recipe=recipe)
    # whatever that has left, a copy of the newest file that is cut off is what a kill can leave, too
    newest = max((killed / "checkpoints").glob("checkpoint*[0-9].pt"), key=lambda path: path.stat().st_mtime)
    whole_file = newest.read_bytes()
    (killed / "checkpoints" / "checkpoint_last.pt").write_bytes(whole_file[: len(whole_file) // 3])
    output = train(labelled_dir, killed, *overrides, recipe=recipe)
    assert "which was interrupted; copying it again" in output
    assert 0 < len(entries(output, "train_inner")) <= 2 * UPDATES_PER_EPOCH
    expected, found = checkpoint(whole), checkpoint(killed)
    assert all(torch.equal(value, found["model"][name]) for name, value in expected["model"].items())
    for index, moments in expected["last_optimizer_state"]["state"].items():
        for name, value in moments.items():
            assert torch.equal(value, found["last_optimizer_state"]["state"][index][name])
    assert expected["extra_state"]["best"] == found["extra_state"]["best"]


@pytest.mark.stock
@pytest.mark.parametrize(
    "overrides, updates_left",
    [(["optimization.update_freq=[2]"], 3), (["dataset.batch_size=2", "optimization.update_freq=[2]"], 4)],
)
def test_a_run_that_resumes_within_an_epoch_with_other_batches_trains_on_what_is_left(
    data_dir, tmp_path, overrides, updates_left
):
    """Three updates of 3 of the 24 clips, then 15 clips in other batches, and an epoch of all."""
    shared = ["optimization.max_epoch=2", "lr_scheduler.warmup_epochs=0"]
    first = entries(train(data_dir, tmp_path, *shared, "optimization.max_update=3"), "train_inner")
    output = train(data_dir, tmp_path, *shared, *overrides)
    assert "15 of its 24 clips are left" in output
    updates = entries(output, "train_inner")
    clips = [[float(entry["bsz"]) for entry in updates if entry["epoch"] == epoch] for epoch in (1, 2)]
    assert len(clips[0]) == updates_left and [sum(part) for part in clips] == [15, 24]
    assert len(first) == 3 and len(clips[1]) == {3: 4, 4: 6}[updates_left]
    rates = [float(entry["lr"]) for entry in [*first, *updates]]
    assert rates == sorted(rates, reverse=True) and rates[-1] < 0.1 * rates[0] < rates[3]


def test_a_second_training_in_a_run_directory_is_refused(data_dir, tmp_path):
    with tempfile.NamedTemporaryFile("r") as output:
        first = training_process(output.name, training_arguments(data_dir, tmp_path, "optimization.max_epoch=1000"))
        while first.poll() is None and '"num_updates": "1"' not in output.read():
            time.sleep(0.05)
        try:
            assert first.poll() is None, Path(output.name).read_text()[-3000:]
            refused = train(data_dir, tmp_path, fails=True)
        finally:
            first.kill()
    assert f"expected no other training in this directory, found process {first.pid} on host" in refused


def test_a_full_disk_ends_the_run_and_leaves_the_last_good_checkpoint(data_dir, tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here, which answers every write with 'no space left on device'")
    (folder / "checkpoint2.pt.tmp").symlink_to("/dev/full")
    overrides = ["optimization.max_epoch=3", "lr_scheduler.warmup_epochs=0"]
    output = train(data_dir, tmp_path, *overrides, fails=True)
    assert "No space left on device" in output and len(entries(output, "train_inner")) == 2 * UPDATES_PER_EPOCH
    assert checkpoint(tmp_path)["extra_state"]["train_iterator"]["epoch"] == 2  # the next to begin
    (folder / "checkpoint2.pt.tmp").unlink()
    resumed = train(data_dir, tmp_path, *overrides)
    assert [entry["num_updates"] for entry in entries(resumed, "train_inner")] == [str(n) for n in range(9, 25)]


def test_batches_without_a_finite_loss_are_dropped_and_too_many_end_the_run(data_dir, tmp_path):
    """A learning rate by which the first update breaks the model."""
    overrides = ["optimization.lr=[1e30]", "task.max_skipped_updates=3", "lr_scheduler.warmup_epochs=0"]
    output = train(data_dir, tmp_path, *overrides, fails=True)
    assert len(re.findall("dropped a batch whose loss is not finite, clips", output)) == 4
    error = output.split("FloatingPointError: expected a finite loss except in 3 batches")[1]
    assert "found 4" in error and len(re.findall(r"\d+ \(clip \d\d.wav\)", error)) == 3
    # the model stays as it was when the last update was taken
    assert [entry["gnorm"] for entry in entries(output, "train_inner")][1:] == ["0", "0", "0"]
