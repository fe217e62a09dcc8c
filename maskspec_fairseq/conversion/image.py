"""Image transformers of timm, DeiT and MAE, to start finetuning from: the paper's rows with ImageNet weights.

The colour channels of the patch embedding are summed, as if a spectrogram were an image of three equal channels, and
the positions are interpolated to the audio's grid. Head, decoder and distillation token are left out.
"""

import math
from typing import Any

import torch
from torch import Tensor

from maskspec_fairseq.checkpoints.check import STATISTICS
from maskspec_fairseq.conversion.vit import (
    N_MELS,
    Conversion,
    encoder_arguments,
    flat_kernel,
    rename_weights,
    split_positions,
    with_positions,
)
from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.modules.positions import interpolate_positions
from maskspec_fairseq.registered_names import FINETUNING_MODEL

FRONT_END = dict(front_end="paper", sample_rate=32000, mel_jitter=False)
CLIP_SEC = 10.0
COLOUR_CHANNELS = 3
LEFT_OUT = ("head.", "head_dist.", "pre_logits.", "dist_token", "mask_token", "decoder_")


def convert(weights: dict[str, Tensor], options: dict[str, Any]) -> Conversion:
    """Convert the encoder. It has not seen a log-mel, so its statistics are NaN: finetuning uses those of its data.

    Raises:
        ValueError: the weights are not those of such a model, or the positions are not those of a square image.
    """
    arguments = {**FRONT_END, **encoder_arguments(weights)}
    front_end = LogMel(arguments["front_end"], arguments["sample_rate"], arguments["patch_size"])
    rows, columns = front_end.grid(round(CLIP_SEC * front_end.sample_rate))
    of_tokens, of_patches = split_positions(weights)
    side = math.isqrt(len(of_patches))
    if side**2 != len(of_patches) or not side:
        raise ValueError(f"expected positions of a square image, found {len(of_patches)} of them")
    converted = rename_weights(weights, LEFT_OUT)
    converted["encoder.patch_embed.weight"] = flat_kernel(weights["patch_embed.proj.weight"].sum(1, keepdim=True))
    if not any(name.endswith("attn.qkv.bias") for name in weights):  # as in some of timm's models
        zeros = torch.zeros(3 * arguments["encoder_embed_dim"])
        converted.update((f"encoder.blocks.{n}.attn.qkv.bias", zeros) for n in range(arguments["encoder_layers"]))
    table = interpolate_positions(of_patches.unflatten(0, (side, side)), rows, columns)
    arguments, converted = with_positions(arguments, converted, table, of_tokens[:1])
    converted.update((name, torch.full((N_MELS,), float("nan"))) for name in STATISTICS)
    arguments.update(num_classes=0, pool="mean", norm_after_pool="fc_norm.weight" in weights)
    return Conversion("an image transformer (its encoder)", FINETUNING_MODEL, arguments, converted, CLIP_SEC)
