"""Resuming to the bit, and a process group of one: trainings as users run them."""

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
