"""A pretraining step, waveform to updated weights, against the same MAE of timm's blocks: `python -m benchmarks
pretraining_step`.

Forward, backward and AdamW, 8 clips of 10 s at 32 kHz, noise, mask 0.75, float32. The peer (`timm_mae.py`) has
attention as the released code has it, explicit, or timm's fused one, and torch's AdamW with its default settings, which
is what a user would write. The front end is ours on both sides, the same cost, in both sides' time. Memory is that of a
fresh process for each way (`memory.py`), which has the weights, AdamW's moments and all that a step holds.

The arithmetic is that of the matrix products alone, three times the forward pass's; no work of the front end, norms,
GELU, softmax or optimizer is counted, nor what fused attention computes twice.
"""

import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Callable, List

import numpy as np
import torch

from benchmarks import memory
from benchmarks.compare import Row, in_turns, matmul_gflops, time_row
from benchmarks.timm_mae import TimmMae
from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.modules.losses import masked_spectrogram_loss
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.modules.masking import num_masked
from maskspec_fairseq.modules.patches import patchify
from maskspec_fairseq.modules.sizes import SIZES
from maskspec_fairseq.optim.maskspec_adamw import MaskSpecAdamW, MaskSpecAdamWConfig

RATE, CLIPS, SECONDS, MASK_RATIO, LEARNING_RATE = 32000, 8, 10, 0.75, 1e-3
PATCH = 16
WAYS = ["ours", "bf16", "explicit", "fused"]
ROUNDS = {"tiny": 3, "base": 3}


def our_optimizer(model: torch.nn.Module) -> MaskSpecAdamW:
    return MaskSpecAdamW(MaskSpecAdamWConfig(lr=[LEARNING_RATE], fp16=False, bf16=False), model.parameters())


def our_step(size: str, waveform: torch.Tensor, mask_ratio: float, bf16: bool) -> Callable[[], object]:
    model = MaskedAutoencoder(mask_ratio=mask_ratio, **asdict(SIZES[size]))
    optimizer = our_optimizer(model)
    clip_key = np.stack([np.array([1, 1, clip]) for clip in range(len(waveform))])

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            found = model(waveform, clip_key=clip_key)
        total, count = masked_spectrogram_loss(found["prediction"], found["target"], found["scored"])
        (total / count).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def timm_step(size: str, waveform: torch.Tensor, mask_ratio: float, fused: bool) -> Callable[[], object]:
    front_end = LogMel("paper", RATE, frame_multiple=PATCH)
    width, heads = SIZES[size].encoder_embed_dim, SIZES[size].encoder_attention_heads
    model = TimmMae(front_end.grid(waveform.shape[1]), width, heads, mask_ratio=mask_ratio, fused=fused)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)

    def step() -> None:
        model(patchify(front_end(waveform), PATCH)).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def make_step(
    way: str, size: str, clips: int = CLIPS, seconds: int = SECONDS, mask_ratio: float = MASK_RATIO
) -> Callable[[], object]:
    """A step of one of WAYS, with a model and a batch of noise of its own."""
    torch.manual_seed(1)
    waveform = torch.randn(clips, seconds * RATE).mul_(0.1)
    if way in ("ours", "bf16"):
        return our_step(size, waveform, mask_ratio, way == "bf16")
    return timm_step(size, waveform, mask_ratio, way == "fused")


def block_flops(width: int, tokens: int, outputs: int) -> int:
    """Of a block's forward pass: keys and values, queries and projection, feed-forward network, and attention."""
    return 2 * width**2 * (2 * tokens + 2 * outputs + 8 * outputs) + 4 * width * tokens * outputs


def step_flops(size: str, clips: int = CLIPS, seconds: int = SECONDS, mask_ratio: float = MASK_RATIO) -> int:
    """Floating-point operations of our step's matrix products, forward and (twice as many) backward."""
    width, decoder_width, values = SIZES[size].encoder_embed_dim, SIZES[size].decoder_embed_dim, PATCH**2
    rows, columns = LogMel("paper", RATE, frame_multiple=PATCH).grid(seconds * RATE)
    patches = rows * columns
    masked = num_masked(patches, mask_ratio)
    visible = patches - masked
    linear = visible * width * (values + decoder_width) + masked * decoder_width * values
    encoder = SIZES[size].encoder_layers * block_flops(width, visible, visible)
    decoder = (SIZES[size].decoder_layers - 1) * block_flops(decoder_width, patches, patches)
    return 3 * clips * (2 * linear + encoder + decoder + block_flops(decoder_width, patches, masked))


def bf16_units() -> str:
    """What the processor has for products in bf16."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    found = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags]
    return f"the processor has {' and '.join(found) or 'nothing'} for bf16"


def rows_of_size(size: str) -> List[Row]:
    ways = WAYS if size == "base" else ["ours", "explicit", "fused"]
    steps = {way: make_step(way, size) for way in ways}
    seconds = in_turns(steps, ROUNDS[size])
    del steps  # the memory of the models goes to the processes that follow
    work = f"pretraining step, {size}, {CLIPS} clips of {SECONDS} s"
    held = {way: memory.measure(way, size) for way in ("ours", "explicit")}
    rows = [
        time_row(work, "timm, explicit attention", seconds["ours"], seconds["explicit"], "at most 0.8"),
        time_row(work, "timm, fused attention", seconds["ours"], seconds["fused"], "at most 0.95"),
        Row(
            f"memory of a {work}",
            "timm, explicit attention",
            *(f"{held[way] / 2**20:.0f} MiB" for way in ("ours", "explicit")),
            held["ours"] / held["explicit"],
            "at most 0.8",
        ),
    ]
    if size == "base":
        ours, machine = step_flops(size) / statistics.median(seconds["ours"]) / 1e9, matmul_gflops()
        rates = (f"{ours:.0f} Gflop/s", f"{machine:.0f} Gflop/s")
        rows.append(Row(f"arithmetic of a {work}", "a matrix product", *rates, ours / machine, "at least 0.75"))
        times = seconds["bf16"], seconds["ours"]
        rows.append(time_row(f"bf16 autocast, {work}", "ours in float32", *times, "at most 0.6", bf16_units()))
    return rows


def rows() -> List[Row]:
    return [row for size in ROUNDS for row in rows_of_size(size)]
