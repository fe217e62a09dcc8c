"""Pretraining that starts from the weights of another pretraining, on other audio: docs/further_pretraining.md."""

import re

import pytest
import torch

from maskspec_fairseq.data_dir.manifest import Manifest, write_manifest
from tests.factories import write_tone
from tests.integration.runs import checkpoint, entries, train


@pytest.fixture(scope="module")
def new_audio(tmp_path_factory):
    """A data directory of audio that the first pretraining has not had, louder and lower, without statistics."""
    directory = tmp_path_factory.mktemp("new")
    names = [f"{number}.wav" for number in range(12)]
    for number, name in enumerate(names):
        write_tone(directory / "audio" / name, 1.0, hz=100 + 10 * number)
    for subset, part in (("train", names[:8]), ("valid", names[8:])):
        write_manifest(directory / f"{subset}.tsv", Manifest(str(directory / "audio"), part, [32000] * len(part)))
    return directory


def start_of(run_dir):
    return f"checkpoint.finetune_from_model={run_dir}/checkpoints/checkpoint_last.pt"


STATISTICS = ("front_end.mel_mean", "front_end.mel_std")


# An update with a learning rate of 0 leaves the weights as they were before it.
STILL = ["optimization.lr=[0.0]", "optimization.max_update=1"]


@pytest.mark.stock
def test_it_starts_from_the_weights_of_the_checkpoint(whole_run, data_dir, tmp_path):
    """Which predict the clips and masks of the first update as random weights do not."""
    output = train(data_dir, tmp_path, start_of(whole_run[0]), *STILL)
    before, after = checkpoint(whole_run[0])["model"], checkpoint(tmp_path)["model"]
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    random, further = (entries(text, "train_inner")[0] for text in (whole_run[1], output))
    assert random["baseline_loss"] == further["baseline_loss"]
    assert float(further["loss"]) < 0.6 * float(random["loss"])


@pytest.mark.stock
def test_it_keeps_the_statistics_of_the_checkpoint_and_its_weights_in_half_precision(whole_run, new_audio, tmp_path):
    output = train(new_audio, tmp_path, start_of(whole_run[0]), *STILL, "common.bf16=true")
    assert f"the log-mel statistics are those of {whole_run[0]}/checkpoints/checkpoint_last.pt" in output
    before, after = checkpoint(whole_run[0])["model"], checkpoint(tmp_path)["model"]
    for name, value in before.items():
        assert torch.equal(value if name in STATISTICS else value.bfloat16().float(), after[name].float()), name


@pytest.mark.stock
def test_optimizer_schedule_and_epoch_start_anew(whole_run, new_audio, tmp_path):
    """Three epochs of three updates, stopped after the fifth and resumed by the same command."""
    command = [start_of(whole_run[0]), "optimization.max_epoch=3", "lr_scheduler.warmup_epochs=1"]
    first = train(new_audio, tmp_path, *command, "optimization.max_update=5")
    second = train(new_audio, tmp_path, *command)
    assert "Loaded checkpoint checkpoints/checkpoint_last.pt (epoch 2 @ 5 updates)" in second
    updates = entries(first, "train_inner") + entries(second, "train_inner")
    assert [(int(entry["epoch"]), int(entry["num_updates"])) for entry in updates] == [
        (epoch, 3 * epoch + number - 3) for epoch in (1, 2, 3) for number in (1, 2, 3)
    ]
    rates = [float(entry["lr"]) for entry in updates]
    assert rates.index(max(rates)) in (1, 2) and rates[-1] == 0  # after a warm-up of three updates
    state = checkpoint(tmp_path)
    assert {int(moments["step"]) for moments in state["last_optimizer_state"]["state"].values()} == {9}
    # trained, in the units of the checkpoint, which has no statistics of the new audio
    start = checkpoint(whole_run[0])["model"]
    assert all(torch.equal(start[name], state["model"][name]) for name in STATISTICS)
    assert not torch.equal(start["encoder.patch_embed.weight"], state["model"]["encoder.patch_embed.weight"])


@pytest.mark.stock
def test_a_checkpoint_that_does_not_fit_is_refused_in_one_sentence(whole_run, new_audio, tmp_path):
    path = whole_run[0] / "checkpoints" / "checkpoint_last.pt"
    other = ["model.decoder_layers=2", "model.patch_size=8"]
    output = train(new_audio, tmp_path / "other", start_of(whole_run[0]), *other, fails=True)
    (error,) = re.findall(r"^ValueError: (.*)$", output, re.MULTILINE)
    assert error.startswith(f"{path}: expected a checkpoint of the model that is trained, found another one (model.")
    assert "model.decoder_layers: expected 2, found 1" in error and "model.patch_size: expected 8, found 16" in error
    assert not entries(output, "train_inner")
    (tmp_path / "short" / "checkpoints").mkdir(parents=True)
    state = torch.load(path, weights_only=True)
    del state["model"]["decoder.mask_token"]
    torch.save(state, tmp_path / "short" / "checkpoints" / "checkpoint_last.pt")
    output = train(new_audio, tmp_path / "new", start_of(tmp_path / "short"), fails=True)
    assert "expected the weights of the model that its config describes" in output and "no decoder.mask_token" in output
    assert not entries(output, "train_inner")
