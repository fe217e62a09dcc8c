"""What a user sees of a run: on the screen, in tensorboard, in Weights & Biases."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios

import pytest

from tests.factories import REPOSITORY
from tests.integration.runs import command, entries, train

SHORT = ["optimization.max_epoch=2", "lr_scheduler.warmup_epochs=0"]
TRAINING = {"loss", "lr", "gnorm", "masked_share", "baseline_loss", "clips_per_sec"}


def test_the_start_is_short_and_says_what_is_needed(whole_run):
    output = whole_run[1]
    start = output[: output.index("[train_inner]")].splitlines()
    assert len(start) < 30 and max(map(len, start)) < 300
    for text in ("num. shared model params", "loaded 24 clips of train", "config: .hydra/config.yaml"):
        assert text in output
    assert not any(text in output for text in ("TransformerBlock", "can_reuse_epoch_itr", "grouped total_num_itrs"))
    assert (whole_run[0] / ".hydra" / "config.yaml").is_file()


def test_tensorboard_shows_training_and_validation(labelled_dir, data_dir, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(data_dir, tmp_path / "one", *SHORT, "common.tensorboard_logdir=tensorboard")
    two = train(labelled_dir, tmp_path / "two", *SHORT, "common.tensorboard_logdir=tensorboard", "task.roll_sec=0.1",
                recipe="finetuning/demo")  # fmt: skip

    def scalars(run, kind):
        events = accumulator.EventAccumulator(str(tmp_path / run / "tensorboard" / kind)).Reload()
        return {name: [event.value for event in events.Scalars(name)] for name in events.Tags()["scalars"]}

    assert TRAINING <= set(scalars("one", "train_inner"))
    assert {"loss", "baseline_loss", "masked_share", "clips_per_sec"} <= set(scalars("one", "valid"))
    accuracies = [float(entry["valid_accuracy"]) for entry in entries(two, "valid")]
    assert scalars("two", "valid")["accuracy"] == pytest.approx(accuracies)


STAND_IN = """
import json
class config:
    update = staticmethod(lambda config: None)
def init(**kwargs):
    print("WANDB", json.dumps(kwargs))
def log(values, step=None):
    print("WANDB", json.dumps({name: float(value) for name, value in values.items()}))
"""


def test_weights_and_biases_gets_training_and_validation(data_dir, tmp_path, monkeypatch):
    """A stand-in for the package, which would ask for an account."""
    (tmp_path / "wandb.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    output = train(data_dir, tmp_path / "run", *SHORT, "common.wandb_project=digits")
    calls = [json.loads(line) for line in re.findall(r"^WANDB (.*)$", output, re.M)]
    assert calls[0]["project"] == "digits"
    logged = {name for call in calls[1:] for name in call}
    assert {f"train_inner/{name}" for name in TRAINING} <= logged
    assert {"valid/loss", "valid/baseline_loss", "valid/clips_per_sec"} <= logged


def test_the_progress_bar_moves_on_a_terminal(data_dir, tmp_path):
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 250, 0, 0))
    process = subprocess.Popen(
        command(data_dir, tmp_path / "run", *SHORT, "common.log_format=tqdm", "dataset.batch_size=1"),
        cwd=REPOSITORY, stdout=terminal, stderr=terminal, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # how Linux says that the other end has closed
            break
        if not part:
            break
        shown += part
    os.close(main)
    assert process.wait() == 0
    bars = re.findall(r"epoch 002: +(\d+)%", shown.decode(errors="replace"))
    assert len(set(bars)) > 2 and "masked_share=" in shown.decode(errors="replace")
