"""The files of AudioMAE (arXiv:2207.06405): https://github.com/facebookresearch/AudioMAE.

Its image has time down and mel bins across, so that patches are ordered by time first, and the values of a patch, too.
Its decoder attends in windows, and stays behind. Its positions are sinusoids that are never trained; the halves of
their width stand the other way round than ours, which makes them learned positions here.
"""

from typing import Any, Dict

import torch
from torch import Tensor

from maskspec_fairseq.conversion.vit import (
    N_MELS,
    Conversion,
    are_sinusoids,
    encoder_arguments,
    flat_kernel,
    renamed,
    split_positions,
    with_positions,
)
from maskspec_fairseq.registered_names import FINETUNING_MODEL

FRONT_END = dict(front_end="audiomae", sample_rate=16000, mel_jitter=False)
HOP_SEC = 0.01
# Its inputs are (x - mean) / (2 * deviation), with these of AudioSet.
MEAN = -4.2677393
STD = 2 * 4.5689974


def is_audiomae(weights: Dict[str, Tensor]) -> bool:
    """Whether the positions are sinusoids over a grid of time x mel bins: what tells it from MaskSpec."""
    columns = N_MELS // weights["patch_embed.proj.weight"].shape[3]
    _, of_patches = split_positions(weights)
    return bool(columns and len(of_patches)) and are_sinusoids(of_patches, len(of_patches) // columns, columns)


def convert(weights: Dict[str, Tensor], options: Dict[str, Any]) -> Conversion:
    """The encoder, with the head and the norm before it where it was finetuned.

    Raises:
        ValueError: no such model.
    """
    finetuned = "fc_norm.weight" in weights
    arguments = {**FRONT_END, **encoder_arguments(weights)}
    rows = N_MELS // arguments["patch_size"]
    of_cls, of_patches = split_positions(weights)
    converted = renamed(weights, left_behind=("decoder_", "mask_token"))
    converted["encoder.patch_embed.weight"] = flat_kernel(weights["patch_embed.proj.weight"].transpose(2, 3))
    table = of_patches.unflatten(0, (-1, rows)).transpose(0, 1)  # (time, mel, D) -> (mel, time, D)
    arguments, converted = with_positions(arguments, converted, table, of_cls)
    converted["front_end.mel_mean"] = torch.full((N_MELS,), MEAN)
    converted["front_end.mel_std"] = torch.full((N_MELS,), STD)
    arguments.update(num_classes=len(weights.get("head.weight", ())), pool="mean", norm_after_pool=finetuned)
    clip_sec = round(table.shape[1] * arguments["patch_size"] * HOP_SEC, 2)
    layout = f"AudioMAE, {'finetuned' if finetuned else 'pretraining (its encoder)'}"
    return Conversion(layout, FINETUNING_MODEL, arguments, converted, clip_sec)
