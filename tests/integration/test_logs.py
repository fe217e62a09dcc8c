"""What a user sees of a run: on the screen, in tensorboard, in Weights & Biases."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import termios
from types import SimpleNamespace

import pytest

from tests.integration.forked import ForkedProcess, hydra_train, training_process
from tests.integration.runs import entries, train, training_arguments

SHORT = ["optimization.max_epoch=2", "lr_scheduler.warmup_epochs=0"]
TRAINING = {"loss", "lr", "gnorm", "masked_share", "baseline_loss", "clips_per_sec"}


@pytest.mark.stock
def test_the_start_is_short_and_says_what_is_needed(whole_run):
    output = whole_run[1]
    start = output[: output.index("[train_inner]")].splitlines()
    assert len(start) < 30 and max(map(len, start)) < 300
    own = [line for line in start if "[maskspec_fairseq" in line]
    assert f"run directory {whole_run[0]}: starts; 8 epochs on the CPU in float32" in own[0]
    assert "8 epochs of 8 updates, 64 in all" in output
    for text in ("num. shared model params", "loaded 24 clips of train", "config: `cfg` in the checkpoints"):
        assert text in output
    assert not any(text in output for text in ("TransformerBlock", "can_reuse_epoch_itr", "grouped total_num_itrs"))
    assert (whole_run[0] / ".hydra" / "config.yaml").is_file()


def test_tensorboard_shows_training_and_validation(whole_run, labelled_dir, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    output = train(labelled_dir, tmp_path, *SHORT, "common.tensorboard_logdir=tensorboard", "task.roll_sec=0.1",
                   recipe="finetuning/demo")  # fmt: skip

    def scalars(run_dir, kind):
        events = accumulator.EventAccumulator(str(run_dir / "tensorboard" / kind)).Reload()
        return {name: [event.value for event in events.Scalars(name)] for name in events.Tags()["scalars"]}

    assert set(scalars(whole_run[0], "train_inner")) >= TRAINING
    assert {"loss", "baseline_loss", "masked_share", "clips_per_sec"} <= set(scalars(whole_run[0], "valid"))
    accuracies = [float(entry["valid_accuracy"]) for entry in entries(output, "valid")]
    assert scalars(tmp_path, "valid")["accuracy"] == pytest.approx(accuracies)


class WandbStandIn:
    """What fairseq calls of the package, which would ask for an account."""

    config = SimpleNamespace(update=lambda config: None)

    @staticmethod
    def init(**kwargs):
        print("WANDB", json.dumps(kwargs))

    @staticmethod
    def log(values, step=None):
        print("WANDB", json.dumps({name: float(value) for name, value in values.items()}))


def train_with_wandb(arguments):
    from fairseq.logging import progress_bar

    progress_bar.wandb = WandbStandIn
    hydra_train(arguments)


def test_weights_and_biases_gets_training_and_validation(data_dir, tmp_path):
    arguments = training_arguments(data_dir, tmp_path / "run", *SHORT, "common.wandb_project=digits")
    output = tmp_path / "output"
    assert ForkedProcess(str(output), train_with_wandb, arguments).wait() == 0, output.read_text()[-3000:]
    calls = [json.loads(line) for line in re.findall(r"^WANDB (.*)$", output.read_text(), re.M)]
    assert calls[0]["project"] == "digits"
    logged = {name for call in calls[1:] for name in call}
    assert {f"train_inner/{name}" for name in TRAINING} <= logged
    assert {"valid/loss", "valid/baseline_loss", "valid/clips_per_sec"} <= logged


def test_the_progress_bar_moves_on_a_terminal(data_dir, tmp_path):
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 250, 0, 0))
    overrides = [*SHORT, "common.log_format=tqdm", "dataset.batch_size=1"]
    process = training_process(os.ttyname(terminal), training_arguments(data_dir, tmp_path / "run", *overrides))
    shown = b""
    while process.poll() is None or select.select([main], [], [], 0)[0]:
        if select.select([main], [], [], 0.1)[0]:
            shown += os.read(main, 65536)
    os.close(terminal)
    os.close(main)
    assert process.wait() == 0
    bars = re.findall(r"epoch 002: +(\d+)%", shown.decode(errors="replace"))
    assert len(set(bars)) > 2 and "masked_share=" in shown.decode(errors="replace")
