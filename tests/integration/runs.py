"""Run fairseq-hydra-train as a user does, and read what it leaves."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from tests.factories import REPOSITORY
from tests.integration.forked import training_process

# `python -m` takes the interpreter's own fairseq, whether or not its bin/ is on the PATH
TRAIN = [sys.executable, "-W", "ignore", "-m", "fairseq_cli.hydra_train"]

# A recipe made small: 8 updates of 3 clips an epoch.
TINY = [
    "common.cpu=true", "common.fp16=false", "task.clip_sec=1", "dataset.batch_size=3", "dataset.num_workers=0",
    "model.encoder_embed_dim=64", "model.encoder_layers=2", "model.encoder_attention_heads=2",
    "model.encoder_ffn_embed_dim=128", "common.log_interval=1", "optimization.lr=[0.005]",
]  # fmt: skip
TINY_DECODER = [
    "model.decoder_embed_dim=64", "model.decoder_layers=1", "model.decoder_attention_heads=2",
    "model.decoder_ffn_embed_dim=128",
]  # fmt: skip


def training_arguments(data: Path, run_dir: Path, *overrides: str, recipe: str = "pretraining/demo") -> list[str]:
    """What fairseq-hydra-train is given to train a small model."""
    stage, name = recipe.split("/")
    small = TINY + (TINY_DECODER if stage == "pretraining" else [])
    paths = [f"task.data={data}", f"hydra.run.dir={run_dir}"]
    return ["--config-dir", f"config/{stage}", "--config-name", name, *small, *paths, *overrides]


def run_together(runs: list[list[str]]) -> list[tuple[int, str]]:
    """Run trainings with these arguments at the same time -> exit code and output of each."""
    with tempfile.TemporaryDirectory() as directory:
        outputs = [f"{directory}/{number}" for number in range(len(runs))]
        processes = [training_process(*run) for run in zip(outputs, runs)]
        try:
            codes = [process.wait() for process in processes]
        finally:
            for process in processes:
                process.kill()
        return [(code, Path(output).read_text()) for code, output in zip(codes, outputs)]


def train(data: Path, run_dir: Path, *overrides: str, recipe: str = "pretraining/demo", fails: bool = False) -> str:
    """One process, to its end; returns what was printed."""
    ((code, output),) = run_together([training_arguments(data, run_dir, *overrides, recipe=recipe)])
    assert (code != 0) == fails, output[-4000:]
    return output


def train_by_command(data: Path, run_dir: Path, *overrides: str, recipe: str = "pretraining/demo") -> str:
    """The same in a new interpreter, as a user runs it; for the few tests that this matters to."""
    done = subprocess.run(
        [*TRAIN, *training_arguments(data, run_dir, *overrides, recipe=recipe)], cwd=REPOSITORY, timeout=300, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def train_in_parallel(
    data: Path, run_dir: Path, num_processes: int, *overrides: str, recipe: str = "pretraining/demo"
) -> str:
    """Data parallel over gloo, as many GPUs would; returns what the first process printed."""
    with tempfile.TemporaryDirectory() as meeting_place:
        shared = [
            f"distributed_training.distributed_world_size={num_processes}",
            "distributed_training.distributed_no_spawn=true",
            "distributed_training.distributed_backend=gloo",
            "distributed_training.device_id=0",
            "distributed_training.ddp_backend=legacy_ddp",
            f"distributed_training.distributed_init_method=file://{meeting_place}/store",
        ]
        ranks = [f"distributed_training.distributed_rank={rank}" for rank in range(num_processes)]
        done = run_together(
            [training_arguments(data, run_dir, *shared, rank, *overrides, recipe=recipe) for rank in ranks]
        )
    assert [code for code, _ in done] == [0] * num_processes, "".join(output[-3000:] for _, output in done)
    return done[0][1]


def entries(output: str, kind: str) -> list[dict[str, Any]]:
    """The JSON lines of one kind: train_inner, train or valid."""
    return [json.loads(line) for line in re.findall(rf"\[{kind}\]\[INFO\] - (\{{.*\}})", output)]


def checkpoint(run_dir: Path, name: str = "checkpoint_last.pt") -> dict[str, Any]:
    return torch.load(run_dir / "checkpoints" / name, weights_only=True)
