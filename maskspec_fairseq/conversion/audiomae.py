"""The files of AudioMAE (arXiv:2207.06405): https://github.com/facebookresearch/AudioMAE.

Its image has time down and mel bins across, so patches, and the values in a patch, are ordered by time first. Its
decoder attends in windows and is left out. Its positions are sinusoids, fixed unless a run was told to train them; the
two halves of their width are swapped compared with ours, so they become learned positions here.
"""

from typing import Any

import torch
from torch import Tensor

from maskspec_fairseq.checkpoints.check import STATISTICS
from maskspec_fairseq.conversion.vit import (
    N_MELS,
    Conversion,
    count_columns,
    encoder_arguments,
    flat_kernel,
    rename_weights,
    split_positions,
    with_positions,
)
from maskspec_fairseq.registered_names import FINETUNING_MODEL

FRONT_END = dict(front_end="audiomae", sample_rate=16000, mel_jitter=False)
HOP_SEC = 0.01
# Its input is (x - mean) / (2 * deviation), with AudioSet's mean and deviation.
MEAN = -4.2677393
STD = 2 * 4.5689974


def convert(weights: dict[str, Tensor], options: dict[str, Any]) -> Conversion:
    """Convert the encoder, and the head with the norm before it if the file is of finetuning.

    Raises:
        ValueError: the weights are not those of such a model.
    """
    finetuned = "fc_norm.weight" in weights
    arguments = {**FRONT_END, **encoder_arguments(weights)}
    rows = N_MELS // arguments["patch_size"]
    of_cls, of_patches = split_positions(weights)
    converted = rename_weights(weights, left_out=("decoder_", "mask_token"))
    converted["encoder.patch_embed.weight"] = flat_kernel(weights["patch_embed.proj.weight"].transpose(2, 3))
    count_columns(len(of_patches), arguments["patch_size"])
    table = of_patches.unflatten(0, (-1, rows)).transpose(0, 1)  # (L, D) -> (M, R, D) -> (R, M, D)
    arguments, converted = with_positions(arguments, converted, table, of_cls)
    converted.update(zip(STATISTICS, torch.tensor([MEAN, STD])[:, None].repeat(1, N_MELS)))
    arguments.update(num_classes=len(weights.get("head.weight", ())), pool="mean", norm_after_pool=finetuned)
    clip_sec = round(table.shape[1] * arguments["patch_size"] * HOP_SEC, 2)
    layout = f"AudioMAE, {'finetuned' if finetuned else 'pretraining (its encoder)'}"
    return Conversion(layout, FINETUNING_MODEL, arguments, converted, clip_sec)
