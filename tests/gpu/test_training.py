"""Precisions, an overflow of the loss scale, resuming to the bit, and a process group: trainings as users run them."""

import sys

import pytest
import torch

from tests.gpu import program
from tests.gpu.training import (
    UPDATES_PER_EPOCH,
    finish,
    losses,
    start_process,
    train_together,
    training_arguments,
)
from tests.integration.runs import checkpoint

pytestmark = pytest.mark.gpu

MODES = {
    "fp16": ["common.fp16=true"],
    "bf16": ["common.bf16=true"],
    "amp": ["common.amp=true"],
    "memory_efficient_fp16": ["common.fp16=true", "common.memory_efficient_fp16=true"],
    "memory_efficient_bf16": ["common.bf16=true", "common.memory_efficient_bf16=true"],
    "compile": ["task.compile=true"],
    "compile_bf16": ["task.compile=true", "common.bf16=true"],
    "checkpoint_activations": ["task.checkpoint_activations=true", "common.bf16=true"],
}
# The loss is summed over values, so its gradients overflow at fairseq's first scale, 128, and the updates are lost.
# At 1 none is, and the curves can be compared.
SCALE = ["common.fp16_init_scale=1"]
OVERFLOW = ["common.fp16=true", f"common.fp16_init_scale={2**12}"]
# Without float32 weights, an update that is small compared with its weight is rounded away: 8 bits of bf16 lose many.
BOUNDS = {**{mode: 0.02 for mode in MODES}, "memory_efficient_bf16": 0.1}


@pytest.fixture(scope="module")
def precisions(device, demo_corpus, tmp_path_factory, request):
    """What the trainings in float32 and in the chosen modes print, and on a GPU one whose loss scale overflows."""
    chosen = {item.callspec.params["mode"] for item in request.session.items if "mode" in item.fixturenames}
    runs = {mode: [*MODES[mode], *SCALE] for mode in MODES if mode in chosen}
    if device == "cuda":
        runs["overflow"] = OVERFLOW
    return train_together(device, demo_corpus, tmp_path_factory.mktemp("precisions"), {"float32": [], **runs})


@pytest.mark.parametrize(
    "mode", [mode if mode in ("fp16", "bf16") else pytest.param(mode, marks=pytest.mark.slow) for mode in MODES]
)
def test_loss_curves_are_those_of_float32_as_it_is(precisions, mode):
    for kind, name in (("train", "train_loss"), ("valid", "valid_loss")):
        expected, found = (losses(precisions[run], kind, name) for run in ("float32", mode))
        assert len(found) >= 2 and found == pytest.approx(expected, rel=BOUNDS[mode])
        assert found[-1] < found[0]


def test_a_loss_scale_that_overflows_is_lowered(device, precisions):
    if device == "cpu":
        pytest.skip("fairseq answers an overflow by a call of CUDA's")
    output = precisions["overflow"]
    assert "gradient overflow detected" in output
    assert losses(output, "train_inner", "loss_scale")[-1] < 2**12
    found = losses(output, "valid", "valid_loss")
    assert found[-1] < found[0]
    assert found[-1] == pytest.approx(losses(precisions["float32"], "valid", "valid_loss")[-1], rel=0.2)  # less updates


@pytest.fixture(scope="module")
def deterministic_runs(device, demo_corpus, tmp_path_factory):
    """The directory of a whole training and of one that was stopped within its second epoch, and what they print."""
    directory = tmp_path_factory.mktemp("deterministic")
    runs = {"whole": [], "resumed": [f"optimization.max_update={UPDATES_PER_EPOCH[device] * 3 // 2}"]}
    return directory, train_together(device, demo_corpus, directory, runs, program.train_deterministically)


def test_a_run_resumes_to_the_bit(device, demo_corpus, deterministic_runs):
    directory, _ = deterministic_runs
    train_together(device, demo_corpus, directory, {"resumed": []}, program.train_deterministically)
    whole, resumed = (checkpoint(directory / name) for name in ("whole", "resumed"))
    assert all(torch.equal(value, resumed["model"][name]) for name, value in whole["model"].items())
    moments = [state["last_optimizer_state"]["state"] for state in (whole, resumed)]
    assert moments[0] and all(torch.equal(moments[0][i]["exp_avg_sq"], moments[1][i]["exp_avg_sq"]) for i in moments[0])


def by_torchrun(*arguments: str) -> list[str]:
    torchrun = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"]
    return [*torchrun, "-m", "tests.gpu.program", *arguments]


def test_one_process_of_torchrun_trains_as_one_without(device, demo_corpus, deterministic_runs, tmp_path):
    fields = [
        "distributed_training.distributed_init_method=env://", "distributed_training.distributed_no_spawn=true",
        "distributed_training.distributed_rank=0", "distributed_training.device_id=0",
        f"distributed_training.distributed_backend={'nccl' if device == 'cuda' else 'gloo'}",
    ]  # fmt: skip
    arguments = training_arguments(device, demo_corpus, tmp_path / "run", *fields)
    outputs = {"torchrun": tmp_path / "output.txt"}
    command = by_torchrun("train_deterministically", *arguments)
    found = finish({"torchrun": start_process(command, outputs["torchrun"])}, outputs)["torchrun"]
    assert "initialized host" in found
    assert losses(found, "train_inner", "loss") == losses(deterministic_runs[1]["whole"], "train_inner", "loss")


def test_data_parallel_gradients_are_those_of_the_model_alone(device, tmp_path):
    outputs = {"ddp": tmp_path / "output.txt"}
    found = finish({"ddp": start_process(by_torchrun("ddp_gradients", device), outputs["ddp"])}, outputs)["ddp"]
    assert f"gradients agree over {'nccl' if device == 'cuda' else 'gloo'}" in found
