"""Trainings on the device of the tests, in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, Union

from tests.factories import REPOSITORY
from tests.gpu import program
from tests.integration.forked import ForkedProcess
from tests.integration.runs import TINY, TINY_DECODER, entries

MAX_SEC = 240  # of any process
# On a GPU the demo recipe as it is; on a CPU two updates of a small model per epoch
FIELDS = {
    "cuda": ["common.cpu=false", "common.log_interval=1", "optimization.max_epoch=4"],
    "cpu": [
        *TINY,
        *TINY_DECODER,
        "dataset.batch_size=16",
        "common.log_interval=1",
        "optimization.max_epoch=2",
        "lr_scheduler.warmup_epochs=0",
    ],
}
UPDATES_PER_EPOCH = {"cuda": 23, "cpu": 2}  # of 360 and of 20 clips, 16 per update


def start(device: str, output: Path, function: Callable, arguments: Sequence[str]) -> Union[ForkedProcess, Any]:
    """Start a function of `program.py`; what it prints goes to a file."""
    if device == "cpu":
        return ForkedProcess(str(output), function, list(arguments))
    # CUDA does not work in a process that is forked from one that has used it, as fairseq's import may.
    return start_process(
        [sys.executable, "-W", "ignore", "-m", "tests.gpu.program", function.__name__, *arguments], output
    )


def start_process(command: Sequence[str], output: Path) -> subprocess.Popen:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with output.open("w") as file:
        return subprocess.Popen(command, cwd=REPOSITORY, env=env, stdout=file, stderr=subprocess.STDOUT)


def finish(processes: Mapping[str, Any], outputs: Mapping[str, Path]) -> dict[str, str]:
    """Wait for processes to end well -> what each has printed."""
    try:
        codes = {name: process.wait(timeout=MAX_SEC) for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.kill()
    found = {name: output.read_text() for name, output in outputs.items()}
    assert not any(codes.values()), "".join(f"{name}: {found[name][-3000:]}" for name in codes if codes[name])
    return found


def train_together(
    device: str, data: Path, directory: Path, runs: Mapping[str, Sequence[str]], function: Callable = program.train
) -> dict[str, str]:
    """Pretrain with the demo recipe, all runs at the same time.

    Args:
        device: cuda or cpu.
        data: DATA_DIR.
        directory: of the run directories, each named as its run.
        runs: name -> fields.
        function: of `program.py`.

    Returns:
        Name -> what was printed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    outputs = {name: directory / f"{name}.txt" for name in runs}
    processes = {
        name: start(device, outputs[name], function, training_arguments(device, data, directory / name, *fields))
        for name, fields in runs.items()
    }
    return finish(processes, outputs)


def training_arguments(device: str, data: Path, run_dir: Path, *fields: str) -> list[str]:
    """What fairseq-hydra-train is given."""
    recipe = ["--config-dir", "config/pretraining", "--config-name", "demo"]
    return [*recipe, *FIELDS[device], f"task.data={data}", f"hydra.run.dir={run_dir}", *fields]


def losses(output: str, kind: str, name: str) -> list[float]:
    """A figure of each line of the log of a kind: train_inner, train or valid."""
    return [float(entry[name]) for entry in entries(output, kind)]
