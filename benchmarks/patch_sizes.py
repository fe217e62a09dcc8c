"""What finer time costs, a pretraining step of `esc10_tiny` by its patches: `python -m benchmarks patch_sizes`.

The recipe's model and batch, 32 clips of 2 s. Processor time, which other programs on the machine change less than wall
time.
"""

import time
from dataclasses import asdict
from pathlib import Path

import torch
import yaml

from benchmarks.steps import RATE, step_of
from benchmarks.timing import Row, in_turns, time_row
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.modules.sizes import TINY

CONFIG = Path(__file__).resolve().parents[1] / "config" / "pretraining"
PATCH_SIZES = ([16, 16], [16, 8], [16, 4])
ROUNDS = 3


def rows() -> list[Row]:
    recipe = yaml.safe_load((CONFIG / "cpu" / "esc10_tiny.yaml").read_text(encoding="utf-8"))
    clips, clip_sec = recipe["dataset"]["batch_size"], recipe["task"]["clip_sec"]
    steps = {}
    for bins, frames in PATCH_SIZES:
        torch.manual_seed(1)
        model = MaskedAutoencoder(patch_size=[bins, frames], **{**asdict(TINY), **recipe["model"]})
        waveform = torch.randn(clips, clip_sec * RATE).mul_(0.1)
        steps[f"{bins} x {frames}"] = step_of(model, waveform)
    seconds = in_turns(steps, ROUNDS, clock=time.process_time)
    squares, *others = steps
    work = f"pretraining step, esc10_tiny with patches of {{}}, {clips} clips of {clip_sec} s, processor time"
    return [time_row(work.format(name), f"patches of {squares}", seconds[name], seconds[squares]) for name in others]
