"""Pretraining steps, ours and that of the same MAE made of timm's blocks, and the arithmetic in them.

A step is forward, backward and AdamW, waveform to updated weights, on clips of noise at 32 kHz. The peer
(`timm_mae.py`) has explicit attention like the released code, or timm's fused one, and torch's AdamW with its default
settings, which is what a user would write. The front end is ours on both sides. `fast` is ours with the decoder of the
recipes `maskspec_*_fast`, `checkpointed` with `task.checkpoint_activations`, `compiled` with `task.compile`.

The arithmetic is that of the matrix products alone, three times that of the forward pass; the work of the front end,
norms, GELU, softmax and optimizer is not counted, nor what fused attention computes twice.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable

import numpy as np
import torch
import yaml

from benchmarks.timm_mae import TimmMae
from maskspec_fairseq.modules import sizes
from maskspec_fairseq.modules.decoder import CROSS
from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.modules.losses import masked_spectrogram_loss
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.modules.masking import num_decoded, num_masked
from maskspec_fairseq.modules.patches import patchify
from maskspec_fairseq.optim.maskspec_adamw import MaskSpecAdamW, MaskSpecAdamWConfig
from maskspec_fairseq.tasks.transformer_blocks import checkpoint_blocks, compile_for_run

RATE, CLIPS, SECONDS, MASK_RATIO, LEARNING_RATE = 32000, 8, 10, 0.75, 1e-3
PATCH = 16
SIZES = {
    **sizes.SIZES,
    "mini": sizes.ModelSize(  # with which a CPU tries the benchmarks of a GPU
        encoder_embed_dim=48,
        encoder_attention_heads=3,
        encoder_ffn_embed_dim=192,
        encoder_layers=2,
        decoder_embed_dim=32,
        decoder_attention_heads=4,
        decoder_ffn_embed_dim=128,
    ),
}
OUR_WAYS = ["ours", "bf16", "fast", "checkpointed", "compiled"]
WAYS = [*OUR_WAYS, "explicit", "fused"]
FAST = Path(__file__).resolve().parents[1] / "config" / "pretraining" / "decoder" / "fast.yaml"


def noise(clips: int) -> torch.Tensor:
    """Clips of 10 s, (B, T)."""
    return 0.1 * torch.randn(clips, SECONDS * RATE, generator=torch.Generator().manual_seed(1))


def our_optimizer(model: torch.nn.Module) -> MaskSpecAdamW:
    return MaskSpecAdamW(MaskSpecAdamWConfig(lr=[LEARNING_RATE], fp16=False, bf16=False), model.parameters())


def model_fields(size: str, fast: bool = False) -> dict[str, Any]:
    """The arguments of `MaskedAutoencoder` in the recipe of a size, or in its `_fast` one."""
    decoder = yaml.safe_load(FAST.read_text(encoding="utf-8"))["model"] if fast else {}
    return {**asdict(SIZES[size]), **decoder}


def our_step(way: str, size: str, waveform: torch.Tensor, mask_ratio: float) -> Callable[[], float]:
    model = MaskedAutoencoder(mask_ratio=mask_ratio, **model_fields(size, way == "fast"))
    if way == "checkpointed":
        checkpoint_blocks(model, compiled=False, amp=False)
    if way == "compiled":
        compile_for_run(model, cpu=True)
    return step_of(model, waveform, bf16=way == "bf16")


def step_of(model: MaskedAutoencoder, waveform: torch.Tensor, bf16: bool = False) -> Callable[[], float]:
    """A step of a model on a batch; it returns the loss before the update."""
    optimizer = our_optimizer(model)
    clip_key = np.stack([np.array([1, 1, clip]) for clip in range(len(waveform))])

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            found = model(waveform, clip_key=clip_key)
        total, count = masked_spectrogram_loss(found["prediction"], found["target"], found["scored"])
        loss = total / count
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def timm_step(size: str, waveform: torch.Tensor, mask_ratio: float, fused: bool) -> Callable[[], float]:
    front_end = LogMel("paper", RATE, PATCH)
    width, heads = SIZES[size].encoder_embed_dim, SIZES[size].encoder_attention_heads
    model = TimmMae(front_end.grid(waveform.shape[1]), width, heads, mask_ratio=mask_ratio, fused=fused)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)

    def step() -> float:
        loss = model(patchify(front_end(waveform), PATCH))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def make_step(
    way: str, size: str, clips: int = CLIPS, seconds: int = SECONDS, mask_ratio: float = MASK_RATIO
) -> Callable[[], float]:
    """A step of one of WAYS, with its own model and its own batch of noise; it returns the loss before the update."""
    torch.manual_seed(1)
    waveform = torch.randn(clips, seconds * RATE).mul_(0.1)
    if way in OUR_WAYS:
        return our_step(way, size, waveform, mask_ratio)
    return timm_step(size, waveform, mask_ratio, way == "fused")


def block_flops(width: int, tokens: int, outputs: int) -> int:
    """Floating-point operations in the forward pass of a block.

    These are keys and values, queries and projection, feed-forward network, and attention.
    """
    return 2 * width**2 * (2 * tokens + 2 * outputs + 8 * outputs) + 4 * width * tokens * outputs


def step_flops(
    size: str, clips: int = CLIPS, seconds: int = SECONDS, mask_ratio: float = MASK_RATIO, fast: bool = False
) -> int:
    """Floating-point operations in the matrix products of our step, forward and (twice as many) backward."""
    fields, values = model_fields(size, fast), PATCH**2
    width, decoder_width = fields["encoder_embed_dim"], fields["decoder_embed_dim"]
    rows, columns = LogMel("paper", RATE, PATCH).grid(seconds * RATE)
    patches = rows * columns
    masked = num_masked(patches, mask_ratio)
    visible, decoded = patches - masked, num_decoded(masked, fields.get("decoder_share", 1.0))
    linear = visible * width * (values + decoder_width) + decoded * decoder_width * values
    encoder = fields["encoder_layers"] * block_flops(width, visible, visible)
    if fields.get("decoder_attention") == CROSS:
        decoder = fields["decoder_layers"] * block_flops(decoder_width, visible, decoded)
    else:
        tokens = visible + decoded
        decoder = (fields["decoder_layers"] - 1) * block_flops(decoder_width, tokens, tokens)
        decoder += block_flops(decoder_width, tokens, decoded)  # the last block
    return 3 * clips * (2 * linear + encoder + decoder)
