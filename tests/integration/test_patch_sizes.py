"""`model.patch_size` as users give it: to hydra as a list or a number, to fairseq-train as text."""

import json
import shutil

import pytest

from maskspec_fairseq.cli import evaluate
from tests.integration.forked import REPOSITORY, ForkedProcess, fairseq_program
from tests.integration.runs import checkpoint, entries, train

SHORT = ["optimization.max_epoch=1", "lr_scheduler.warmup_epochs=0"]
FINE = "model.patch_size=[16,4]"


@pytest.fixture(scope="module")
def fine_run(data_dir, tmp_path_factory):
    """A pretraining of one epoch with patches of 16 x 4, its run directory and its output."""
    run_dir = tmp_path_factory.mktemp("fine")
    return run_dir, train(data_dir, run_dir, *SHORT, FINE)


@pytest.mark.stock
def test_rectangular_patches_are_pretrained_finetuned_and_evaluated(fine_run, labelled_dir, tmp_path):
    run_dir, output = fine_run
    assert len(entries(output, "train_inner")) == 8
    assert all(float(entry["masked_share"]) == 0.75 for entry in entries(output, "train_inner"))
    state = checkpoint(run_dir)
    assert state["cfg"]["model"]["patch_size"] == [16, 4] and type(state["cfg"]["model"]["patch_size"]) is list
    assert state["model"]["encoder.patch_embed.weight"].shape == (64, 64)
    pretrained = f"model.pretrained={run_dir}/checkpoints/checkpoint_last.pt"
    finetuning = [*SHORT, pretrained, "task.roll_sec=0.1", "model.pool=frequency", "model.patchout=0.25"]
    refused = train(labelled_dir, tmp_path / "square", *finetuning, recipe="finetuning/demo", fails=True)
    assert "(patch_size: expected 16, found [16, 4])" in refused and not entries(refused, "train_inner")
    train(labelled_dir, tmp_path / "run", *finetuning, FINE, recipe="finetuning/demo")
    state = checkpoint(tmp_path / "run")
    assert state["cfg"]["model"]["patch_size"] == [16, 4] and state["model"]["head.weight"].shape == (3, 8 * 64)
    arguments = ["--checkpoint", str(tmp_path / "run" / "checkpoints" / "checkpoint_last.pt"), "--device", "cpu"]
    assert evaluate.main([*arguments, "--data", str(labelled_dir), "--subset", "valid", "--out", str(tmp_path)]) == 0
    assert 0 <= json.loads((tmp_path / "scores.json").read_text())["scores"]["accuracy"] <= 1


@pytest.mark.stock
def test_a_run_resumes_with_the_same_patches_alone(fine_run, data_dir, tmp_path):
    run_dir = shutil.copytree(fine_run[0], tmp_path / "run")
    longer = ["optimization.max_epoch=2", "lr_scheduler.warmup_epochs=0"]
    refused = train(data_dir, run_dir, *longer, "model.patch_size=[16,8]", fails=True)
    assert "(model.patch_size: expected [16, 4], found [16, 8])" in refused and not entries(refused, "train_inner")
    resumed = train(data_dir, run_dir, *longer, FINE)
    assert [entry["num_updates"] for entry in entries(resumed, "train_inner")] == [str(n) for n in range(9, 17)]


@pytest.mark.stock
def test_a_run_with_squares_resumes_however_they_are_written(whole_run, data_dir, tmp_path):
    """Its checkpoint holds a number, as those of before `[bins, frames]`."""
    assert checkpoint(whole_run[0])["cfg"]["model"]["patch_size"] == 16
    run_dir = shutil.copytree(whole_run[0], tmp_path / "run")
    resumed = train(data_dir, run_dir, "optimization.max_epoch=9", "model.patch_size=[16,16]")
    assert [entry["num_updates"] for entry in entries(resumed, "train_inner")] == [str(n) for n in range(65, 73)]
    assert checkpoint(run_dir)["cfg"]["model"]["patch_size"] == 16


@pytest.mark.stock
@pytest.mark.parametrize("text, expected", [("16", 16), ("[16,4]", [16, 4]), ("64x4", "found '64x4'; write model.")])
def test_fairseq_train_takes_it_as_text(data_dir, tmp_path, text, expected):
    options = {
        "user-dir": f"{REPOSITORY}/maskspec_fairseq", "task": "maskspec_pretraining", "arch": "maskspec",
        "criterion": "maskspec_prediction", "optimizer": "maskspec_adamw", "lr-scheduler": "maskspec_cosine",
        "lr": "0.001", "warmup-epochs": "0", "max-epoch": "1", "clip-sec": "1", "batch-size": "12", "num-workers": "0",
        "encoder-embed-dim": "64", "encoder-layers": "1", "encoder-attention-heads": "2", "decoder-embed-dim": "64",
        "decoder-layers": "1", "decoder-attention-heads": "2", "save-dir": str(tmp_path / "checkpoints"),
        "patch-size": text,
    }  # fmt: skip
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    output = tmp_path / "output"
    code = ForkedProcess(str(output), fairseq_program, "train", [str(data_dir), "--cpu", *arguments]).wait()
    if isinstance(expected, str):
        assert code and expected in output.read_text()
    else:
        assert code == 0, output.read_text()[-3000:]
        found = checkpoint(tmp_path)["cfg"]["model"]["patch_size"]
        assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    "patch_size, message",
    [
        ("[16]", "expected model.patch_size as [bins, frames], two whole numbers, or as one for squares, found [16]"),
        ("[80,4]", "expected a patch size that divides 128 mel bins, found 80 x 4"),
        ("[16,128]", "expected clips of at least 128 frames (1.28 s), found 101 frames (32000 samples)"),
    ],
)
def test_patches_that_do_not_fit_are_refused_before_the_first_step(data_dir, tmp_path, patch_size, message):
    output = train(data_dir, tmp_path, f"model.patch_size={patch_size}", fails=True)
    assert message in output and not entries(output, "train_inner")
