"""Run fairseq-hydra-train as a user does, and read what it leaves."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import torch

from tests.conftest import REPOSITORY

# `python -m` takes the interpreter's own fairseq, whether or not its bin/ is on the PATH
TRAIN = [sys.executable, "-W", "ignore", "-m", "fairseq_cli.hydra_train", "--config-dir", "config/pretraining"]

# The demo recipe, smaller still: 8 updates of 3 clips an epoch.
TINY = [
    "--config-name", "demo", "task.clip_sec=1", "dataset.batch_size=3", "dataset.num_workers=0",
    "model.encoder_embed_dim=64", "model.encoder_layers=2", "model.encoder_attention_heads=2",
    "model.encoder_ffn_embed_dim=128", "model.decoder_embed_dim=64", "model.decoder_layers=1",
    "model.decoder_attention_heads=2", "model.decoder_ffn_embed_dim=128", "common.log_interval=1",
    "optimization.lr=[0.005]",
]  # fmt: skip


def command(data: Path, run_dir: Path, *overrides: str) -> List[str]:
    return [*TRAIN, *TINY, f"task.data={data}", f"hydra.run.dir={run_dir}", *overrides]


def start(data: Path, run_dir: Path, *overrides: str) -> subprocess.Popen:
    env = {**os.environ, "HYDRA_FULL_ERROR": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command(data, run_dir, *overrides), cwd=REPOSITORY, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def train(data: Path, run_dir: Path, *overrides: str, code: int = 0) -> str:
    """Run to the end; returns what was printed."""
    process = start(data, run_dir, *overrides)
    output, _ = process.communicate(timeout=300)
    assert (process.returncode != 0) == (code != 0), output[-4000:]
    return output


def entries(output: str, kind: str) -> List[Dict[str, Any]]:
    """The JSON lines of one kind: train_inner, train or valid."""
    return [json.loads(line) for line in re.findall(rf"\[{kind}\]\[INFO\] - (\{{.*\}})", output)]


def checkpoint(run_dir: Path, name: str = "checkpoint_last.pt") -> Dict[str, Any]:
    return torch.load(run_dir / "checkpoints" / name, weights_only=True)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
