"""The files of MaskSpec's released code: https://github.com/WangHelin1997/MaskSpec.

Patches are ordered as ours are, by frequency first. The log-mel statistics are in a file of their own.
"""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from maskspec_fairseq.conversion.vit import (
    Conversion,
    are_sinusoids,
    count_blocks,
    count_columns,
    encoder_arguments,
    flat_kernel,
    rename_weights,
    split_positions,
    with_positions,
)
from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.registered_names import FINETUNING_MODEL, PRETRAINING_MODEL

FRONT_END = dict(front_end="reference", sample_rate=32000, mel_jitter=True)
DECODER_HEADS = 16  # in all its decoders


def convert(weights: dict[str, Tensor], options: dict[str, Any]) -> Conversion:
    """Convert a file of pretraining, if it has a decoder, or of finetuning.

    Raises:
        ValueError: the weights are not those of such a model.
    """
    return convert_pretraining(weights, options) if "decoder_pred.weight" in weights else convert_finetuned(weights)


def convert_pretraining(weights: dict[str, Tensor], options: dict[str, Any]) -> Conversion:
    """Convert encoder and decoder: an MAE with sinusoidal positions.

    Args:
        options: of the run; only `norm_pix_loss` and `mask_ratio` are used, with the released scripts' values as
            defaults.

    Raises:
        ValueError: the weights are not those of such a model.
    """
    conversion = _convert("MaskSpec, pretraining", PRETRAINING_MODEL, weights, left_out=("decoder_pos_embed",))
    embed, fc1 = (weights.get(name) for name in ("decoder_embed.weight", "decoder_blocks.0.mlp.fc1.weight"))
    if embed is None or fc1 is None:
        raise ValueError("expected a decoder with decoder_embed and decoder_blocks, found none")
    _check_decoder_positions(weights, conversion.arguments["patch_size"])
    conversion.arguments.update(
        decoder_embed_dim=len(embed),
        decoder_layers=count_blocks(weights, "decoder_blocks."),
        decoder_attention_heads=DECODER_HEADS,
        decoder_ffn_embed_dim=len(fc1),
        norm_pix_loss=bool(options.get("norm_pix_loss", True)),
        mask_ratio=float(options.get("mask_ratio", 0.75)),
    )
    return conversion


def convert_finetuned(weights: dict[str, Tensor]) -> Conversion:
    """Convert encoder and head: the mean over the patches, then a norm.

    Raises:
        ValueError: the weights are not those of such a model.
    """
    conversion = _convert("MaskSpec, finetuned", FINETUNING_MODEL, weights)
    conversion.arguments.update(num_classes=len(weights.get("head.weight", ())), pool="mean", norm_after_pool=True)
    return conversion


def _convert(layout: str, model: str, weights: dict[str, Tensor], left_out: Sequence[str] = ()) -> Conversion:
    arguments = {**FRONT_END, **encoder_arguments(weights)}
    of_cls, of_patches = split_positions(weights)
    columns = count_columns(len(of_patches), arguments["patch_size"])
    converted = rename_weights(weights, left_out)
    converted["encoder.patch_embed.weight"] = flat_kernel(weights["patch_embed.proj.weight"])
    table = of_patches.unflatten(0, (-1, columns))  # (L, D) -> (R, M, D)
    arguments, converted = with_positions(arguments, converted, table, of_cls)
    return Conversion(layout, model, arguments, converted, _clip_sec(arguments, columns))


def _check_decoder_positions(weights: dict[str, Tensor], patch_size: int) -> None:
    positions = weights.get("decoder_pos_embed")
    if positions is not None:
        columns = count_columns(positions.shape[1] - 1, patch_size)
        rows = (positions.shape[1] - 1) // columns
    if positions is None or positions[0, 0].any() or not are_sinusoids(positions[0, 1:], rows, columns):
        raise ValueError("expected the sinusoids of the patches in decoder_pos_embed, found others")


def _clip_sec(arguments: dict[str, Any], columns: int) -> float:
    """Seconds of clip that fill so many columns, a whole number if one does: 10 for 62."""
    front_end = LogMel(arguments["front_end"], arguments["sample_rate"], arguments["patch_size"])
    samples = columns * front_end.patch_size[1] * front_end.hop_length
    whole = math.ceil(samples / front_end.sample_rate)
    if front_end.grid(whole * front_end.sample_rate)[1] == columns:
        return float(whole)
    return samples / front_end.sample_rate
