"""Run fairseq-hydra-train as a user does, and read what it leaves."""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Tuple

import torch

from tests.factories import REPOSITORY

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


def command(data: Path, run_dir: Path, *overrides: str, recipe: str = "pretraining/demo") -> List[str]:
    stage, name = recipe.split("/")
    small = TINY + (TINY_DECODER if stage == "pretraining" else [])
    paths = [f"task.data={data}", f"hydra.run.dir={run_dir}"]
    return [*TRAIN, "--config-dir", f"config/{stage}", "--config-name", name, *small, *paths, *overrides]


def run(commands: List[List[str]]) -> List[Tuple[int, str]]:
    """Run some commands side by side to their end, five minutes at most -> exit code and output of each."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    outputs = [tempfile.TemporaryFile("w+") for _ in commands]
    processes = [
        subprocess.Popen(command, cwd=REPOSITORY, env=env, stdout=output, stderr=subprocess.STDOUT)
        for command, output in zip(commands, outputs)
    ]
    try:
        codes = [process.wait(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    texts = []
    for output in outputs:
        output.seek(0)
        texts.append(output.read())
        output.close()
    return list(zip(codes, texts))


def train(data: Path, run_dir: Path, *overrides: str, recipe: str = "pretraining/demo", fails: bool = False) -> str:
    """One process, to its end; returns what was printed."""
    ((code, output),) = run([command(data, run_dir, *overrides, recipe=recipe)])
    assert (code != 0) == fails, output[-4000:]
    return output


def train_in_parallel(
    data: Path, run_dir: Path, num_processes: int, *overrides: str, recipe: str = "pretraining/demo"
) -> str:
    """Data parallel over gloo, as many GPUs would; returns what the first process printed."""
    shared = [
        f"distributed_training.distributed_world_size={num_processes}",
        "distributed_training.distributed_no_spawn=true",
        "distributed_training.distributed_backend=gloo",
        "distributed_training.device_id=0",
        "distributed_training.ddp_backend=legacy_ddp",
        f"distributed_training.distributed_init_method=tcp://127.0.0.1:{free_port()}",
    ]
    ranks = [f"distributed_training.distributed_rank={rank}" for rank in range(num_processes)]
    done = run([command(data, run_dir, *shared, rank, *overrides, recipe=recipe) for rank in ranks])
    assert [code for code, _ in done] == [0] * num_processes, "".join(output[-3000:] for _, output in done)
    return done[0][1]


def entries(output: str, kind: str) -> List[Dict[str, Any]]:
    """The JSON lines of one kind: train_inner, train or valid."""
    return [json.loads(line) for line in re.findall(rf"\[{kind}\]\[INFO\] - (\{{.*\}})", output)]


def checkpoint(run_dir: Path, name: str = "checkpoint_last.pt") -> Dict[str, Any]:
    return torch.load(run_dir / "checkpoints" / name, weights_only=True)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
