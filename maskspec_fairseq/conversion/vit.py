"""What the layouts share: names, sizes and positions of timm's vision transformer, on which all of them build.

Shapes: D width, p patch size, L patches = R rows x M columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from maskspec_fairseq.modules.positions import sincos_positions
from maskspec_fairseq.modules.sizes import SIZES

# Prefix of a third-party name -> the prefix in our models.
NAMES = {
    "patch_embed.proj.": "encoder.patch_embed.",
    "cls_token": "encoder.cls_token",
    "blocks.": "encoder.blocks.",
    "norm.": "encoder.norm.",
    "fc_norm.": "pool_norm.",
    "head.": "head.",
    "mask_token": "decoder.mask_token",
    "decoder_embed.": "decoder.embed.",
    "decoder_blocks.": "decoder.blocks.",
    "decoder_norm.": "decoder.norm.",
    "decoder_pred.": "decoder.pred.",
}
# Attention heads of an encoder by its width, which no weight tells; 1024 and 1280 are ViT's large and huge.
HEADS = {size.encoder_embed_dim: size.encoder_attention_heads for size in SIZES.values()}
HEADS.update({1024: 16, 1280: 16})
N_MELS = 128
SAME_POSITIONS = 1e-5


@dataclass
class Conversion:
    """Third-party weights, converted.

    Attributes:
        layout: what the file is, in words.
        model: the registered name of the model that it becomes.
        arguments: that model's arguments.
        weights: its state dict; with the log-mel statistics, if the layout has statistics of its own.
        clip_sec: the length of clip that it is for.
    """

    layout: str
    model: str
    arguments: dict[str, Any]
    weights: dict[str, Tensor]
    clip_sec: float


def to_our_name(name: str) -> str:
    """Our name of a third-party weight; a name that no layout has is unchanged."""
    return next((new + name[len(old) :] for old, new in NAMES.items() if name.startswith(old)), name)


def to_their_name(name: str) -> str:
    """The inverse of `to_our_name`."""
    return next((old + name[len(new) :] for old, new in NAMES.items() if name.startswith(new)), name)


def rename_weights(weights: dict[str, Tensor], left_out: Sequence[str] = ()) -> dict[str, Tensor]:
    """Weights by our names, without the positions and those whose name begins with one of `left_out`."""
    prefixes = ("pos_embed", *left_out)
    return {to_our_name(name): value for name, value in weights.items() if not name.startswith(prefixes)}


def encoder_arguments(weights: dict[str, Tensor]) -> dict[str, Any]:
    """The sizes of the encoder, as arguments of our models.

    Raises:
        ValueError: the number of heads of such a width is not known.
    """
    width = weights["pos_embed"].shape[2]
    if width not in HEADS:
        raise ValueError(
            f"expected an encoder of a width out of {sorted(HEADS)}, found {width}, for which the weights do not tell "
            "the number of attention heads"
        )
    return {
        "patch_size": weights["patch_embed.proj.weight"].shape[3],
        "encoder_embed_dim": width,
        "encoder_layers": count_blocks(weights, "blocks."),
        "encoder_attention_heads": HEADS[width],
        "encoder_ffn_embed_dim": len(weights["blocks.0.mlp.fc1.weight"]),
        "cls_token": "cls_token" in weights,
    }


def count_blocks(weights: dict[str, Tensor], prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in weights if name.startswith(prefix)})


def split_positions(weights: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Positions of the tokens before the patches (N, D), and of the patches (L, D)."""
    positions = weights["pos_embed"][0]
    tokens = sum(name in weights for name in ("cls_token", "dist_token"))
    return positions[:tokens], positions[tokens:]


def with_positions(
    arguments: dict[str, Any], weights: dict[str, Tensor], table: Tensor, of_cls: Tensor
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Add positions to arguments and weights: as learned positions, unless they are the sinusoids of our models.

    Args:
        weights: by our names.
        table: (R, M, D).
        of_cls: (1, D), which is added to the CLS token; (0, D) without one.
    """
    rows, columns, width = table.shape
    arguments, weights = dict(arguments, position_grid=[]), dict(weights)
    if of_cls.numel():
        weights["encoder.cls_token"] = weights["encoder.cls_token"] + of_cls
    if not are_sinusoids(table.reshape(-1, width), rows, columns):
        arguments["position_grid"] = [rows, columns]
        weights["encoder.learned_positions"] = table.flatten()
    return arguments, weights


def are_sinusoids(positions: Tensor, rows: int, columns: int) -> bool:
    """Whether positions (L, D) are the sinusoids of a grid with patches in row-major order."""
    expected = sincos_positions(rows, columns, positions.shape[1])
    return positions.shape == expected.shape and torch.allclose(positions, expected, rtol=0, atol=SAME_POSITIONS)


def sinusoid_similarity(positions: Tensor, rows: int, columns: int) -> float:
    """Cosine similarity of positions (L, D), less their mean, to the sinusoids of a grid in row-major order."""
    expected = sincos_positions(rows, columns, positions.shape[1])  # (R * M, D)
    found, expected = ((table - table.mean(0)).flatten() for table in (positions, expected))  # (R * M * D,) each
    return float(torch.cosine_similarity(found, expected, dim=0))


def count_columns(length: int, patch_size: int) -> int:
    """Columns (time) of a grid of patches over all mel bins.

    Raises:
        ValueError: the patches do not fill such a grid.
    """
    rows = N_MELS // patch_size
    if not rows or not length or length % rows:
        raise ValueError(f"expected positions of {rows} rows of patches, found {length} positions")
    return length // rows


def flat_kernel(kernel: Tensor) -> Tensor:
    """(D, 1, p, p) with mel bins first -> (D, p * p)."""
    return kernel.flatten(1)
