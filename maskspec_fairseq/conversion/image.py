"""Vision transformers of images, of timm, DeiT and MAE, as starts for finetuning: the paper's rows of ImageNet weights.

The colours of the patch embedding are summed, as if a spectrogram were an image of three equal colours, and the
positions are stretched over the audio's grid. Head, decoder and distillation token stay behind.
"""

import math
from typing import Any, Dict

import torch
from torch import Tensor

from maskspec_fairseq.conversion.vit import (
    N_MELS,
    Conversion,
    encoder_arguments,
    flat_kernel,
    renamed,
    split_positions,
    with_positions,
)
from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.modules.positions import interpolate_positions
from maskspec_fairseq.registered_names import FINETUNING_MODEL

FRONT_END = dict(front_end="paper", sample_rate=32000, mel_jitter=False)
CLIP_SEC = 10.0
COLOURS = 3
LEFT_BEHIND = ("head.", "head_dist.", "pre_logits.", "dist_token", "mask_token", "decoder_")


def convert(weights: Dict[str, Tensor], options: Dict[str, Any]) -> Conversion:
    """The encoder. It has not seen a log-mel, so the statistics are NaN: finetuning takes those of its data.

    Raises:
        ValueError: no such model, or positions that are no square.
    """
    arguments = {**FRONT_END, **encoder_arguments(weights)}
    front_end = LogMel(arguments["front_end"], arguments["sample_rate"], arguments["patch_size"])
    rows, columns = front_end.grid(round(CLIP_SEC * front_end.sample_rate))
    of_tokens, of_patches = split_positions(weights)
    side = math.isqrt(len(of_patches))
    if side**2 != len(of_patches) or not side:
        raise ValueError(f"expected positions of a square image, found {len(of_patches)} of them")
    converted = renamed(weights, LEFT_BEHIND)
    converted["encoder.patch_embed.weight"] = flat_kernel(weights["patch_embed.proj.weight"].sum(1, keepdim=True))
    if not any(name.endswith("attn.qkv.bias") for name in weights):  # as some of timm's are
        zeros = torch.zeros(3 * arguments["encoder_embed_dim"])
        converted.update((f"encoder.blocks.{n}.attn.qkv.bias", zeros) for n in range(arguments["encoder_layers"]))
    table = interpolate_positions(of_patches.unflatten(0, (side, side)), rows, columns)
    arguments, converted = with_positions(arguments, converted, table, of_tokens[:1])
    converted["front_end.mel_mean"] = torch.full((N_MELS,), float("nan"))
    converted["front_end.mel_std"] = torch.full((N_MELS,), float("nan"))
    arguments.update(num_classes=0, pool="mean", norm_after_pool="fc_norm.weight" in weights)
    return Conversion("an image transformer (its encoder)", FINETUNING_MODEL, arguments, converted, CLIP_SEC)
