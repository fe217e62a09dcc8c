"""What the tests of the kits share: the recordings, the models, and a run of a kit in a process of its own.

FSDD is the folder of the recordings (default: shared/data/fsdd next to the checkout), CHECKPOINT a trained model. With
one the kits score it next to the same model with random weights; without, a small model with random weights alone,
which shows that the kits run.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from maskspec_fairseq import load_model
from maskspec_fairseq.checkpoints.exported import pretrained_path
from maskspec_fairseq.inference.probing import random_weights
from tests.factories import save_exported, small_audio_model


@pytest.fixture(scope="session")
def fsdd(request) -> Path:
    """Directory with recordings/."""
    return Path(os.environ.get("FSDD") or request.getfixturevalue("real_audio") / "fsdd")


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> dict[str, str]:
    """Checkpoints and exported folders by the names that they are reported with."""
    checkpoint, folder = os.environ.get("CHECKPOINT"), tmp_path_factory.mktemp("models")
    if not checkpoint:
        return {"Small": save_exported(small_audio_model([]), folder / "small")}
    random = random_weights(load_model(checkpoint))
    return {"Checkpoint": pretrained_path(checkpoint, os.getcwd()), "Random": save_exported(random, folder / "random")}


@pytest.fixture(scope="session")
def run_kit() -> Callable[..., None]:
    """Run a Python command on the CPU, in a folder; its output is shown if it fails."""

    def run(folder: Path, *arguments: str) -> None:
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
        with open(folder / "log.txt", "a+", encoding="utf-8") as log:
            done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, stdout=log, stderr=log)
            log.seek(0)
            assert done.returncode == 0, f"{' '.join(arguments)}\n{log.read()[-5000:]}"

    return run
