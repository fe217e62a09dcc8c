"""Pooling: the embedding of a clip from the tokens of its patches.

| name | vectors, side by side |
|---|---|
| `mean` | the mean over all patches (MaskSpec, arXiv:2204.12768, section 2.4) |
| `cls` | the CLS token |
| `frequency` | for each row of patches its mean over time, low frequencies first (MSM-MAE, arXiv:2204.12260) |
| `+max` | after any of these, `mean+max` for example: the maximum over the same patches next to it |
| `+std` | the same with the standard deviation |
| `attention` | a learned query over all patches, whose weights finetuning trains, see `attention_pool.py` |

The same patches are those of a row for `frequency`, and all of them for `mean` and `cls`.

Shapes: B batch, R rows x M columns of patches, V visible patches, D width, G vectors of an embedding.
"""

from typing import Optional

import torch
from torch import Tensor

POOLS = tuple(kind + spread for kind in ("mean", "cls", "frequency") for spread in ("", "+max", "+std"))
EVERY = "every"  # not a pooling but the vectors of all of them, see `vectors_of`: what a sweep reads in one pass
ATTENTION = "attention"  # not among them: it has weights of its own
EMBEDDING_POOL = "frequency+std"  # of a pretrained encoder, unless its config or the user says otherwise
FORMER_EMBEDDING_POOL = "mean"  # of pretrained encoders whose config does not say it
MIN_VARIANCE = 1e-10  # the square root has no gradient at zero


def check_pool(pool: str, cls_token: bool) -> None:
    """Check that an encoder can be pooled in this way.

    Raises:
        ValueError: unknown, or of a CLS token that the encoder lacks.
    """
    if pool not in (*POOLS, ATTENTION):
        raise ValueError(
            f"expected a pooling (model.pool, --pool) out of {', '.join((*POOLS, ATTENTION))}, found {pool!r}; choose "
            "one of them"
        )
    if pool.startswith("cls") and not cls_token:
        raise ValueError(
            f"expected an encoder with a CLS token for the pooling {pool}, found one without; choose mean or "
            "frequency, or train with model.cls_token=true"
        )


def by_row(pool: str) -> bool:
    """Whether the rows of patches stay apart."""
    return pool.startswith("frequency")


def num_vectors(pool: str, rows: int) -> int:
    """G, for R rows of patches."""
    if pool == EVERY:
        return 4 + 3 * rows
    return (rows if by_row(pool) else 1) * (2 if "+" in pool else 1)


def vectors_of(pool: str, rows: int) -> list[int]:
    """Which of the vectors of `EVERY` a pooling has, in its order, for R rows of patches.

    Those of `EVERY` are the CLS token (zeros for an encoder without one), the mean, maximum and deviation of all
    patches, and the means, maxima and deviations of the rows.
    """
    kind, _, spread = pool.partition("+")
    offset = ("", "max", "std").index(spread)
    if kind == "frequency":
        starts = [4] + [4 + offset * rows] * bool(spread)
        return [start + row for start in starts for row in range(rows)]
    return [0 if kind == "cls" else 1] + [1 + offset] * bool(spread)


def pool_clips(pool: str, cls_token: Optional[Tensor], patches: Tensor, counted: Optional[Tensor] = None) -> Tensor:
    """Pool the tokens of each clip.

    Args:
        pool: out of `POOLS`.
        cls_token: (B, D), None for an encoder without one.
        patches: (B, R, M, D).
        counted: bool, which patches count: (B, 1, M) for columns or, with `frequency`, (B, R, M); None for all. A row
            without any gives zeros, and a deviation of the square root of `MIN_VARIANCE`.

    Returns:
        (B, G, D): means of all rows, then maxima or deviations.
    """
    if pool == EVERY:
        cls = patches.new_zeros(len(patches), 1, patches.shape[3]) if cls_token is None else cls_token[:, None]
        rows, parts = patches.shape[1], [cls]
        for kind, size in (("mean", 1), ("frequency", rows)):
            spreads = [pool_clips(f"{kind}+{spread}", None, patches, counted) for spread in ("max", "std")]
            parts += [spreads[0], spreads[1][:, size:]]  # the means once
        return torch.cat(parts, dim=1)
    kind, _, spread = pool.partition("+")
    counted = None if counted is None else counted[..., None]  # (B, 1 or R, M, 1)
    if kind == "cls":
        assert cls_token is not None  # see `check_pool`
        first = cls_token[:, None]  # (B, 1, D)
    elif kind == "frequency":
        first = _mean(patches, counted)  # (B, R, D)
    elif counted is None:
        first = patches.flatten(1, 2).mean(dim=1, keepdim=True)  # (B, 1, D)
    else:
        first = _mean(patches.mean(dim=1, keepdim=True), counted)  # (B, 1, D)
    if not spread:
        return first
    if counted is not None:
        counted = counted.expand(*patches.shape[:3], 1)
    if kind != "frequency":
        patches = patches.flatten(1, 2)[:, None]  # (B, 1, R * M, D)
        counted = None if counted is None else counted.flatten(1, 2)[:, None]
    return torch.cat([first, _max(patches, counted) if spread == "max" else _std(patches, counted)], dim=1)


def pool_columns(pool: str, patches: Tensor) -> Tensor:
    """The vectors of each column of patches, of which `pool` takes the mean over time: (B, R, M, D) -> (B, M, G, D).

    G is R for `frequency`, and else 1: the mean over the column. A maximum or a deviation over time is of a clip.
    """
    return patches.transpose(1, 2) if by_row(pool) else patches.mean(dim=1)[:, :, None]


def to_grid(tokens: Tensor, visible: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Put the patches that patchout leaves at their places.

    Args:
        tokens: (B, V, D).
        visible: (B, V), their numbers among all patches.
        grid: (R, M).

    Returns:
        (B, R, M, D), with zeros for the others, and bool (B, R, M), which patches were left.
    """
    batch, _, width = tokens.shape
    patches = tokens.new_zeros(batch, grid[0] * grid[1], width)
    patches = patches.scatter(1, visible[:, :, None].expand_as(tokens), tokens)
    counted = torch.zeros(patches.shape[:2], dtype=torch.bool, device=tokens.device).scatter(1, visible, True)
    return patches.unflatten(1, grid), counted.unflatten(1, grid)


def _mean(groups: Tensor, counted: Optional[Tensor]) -> Tensor:
    """(B, G, N, D) -> (B, G, D), over the counted ones of N, (B, G, N, 1)."""
    if counted is None:
        return groups.mean(dim=2)
    return (groups * counted).sum(dim=2) / counted.sum(dim=2).clamp(min=1)


def _max(groups: Tensor, counted: Optional[Tensor]) -> Tensor:
    if counted is None:
        return groups.amax(dim=2)
    return groups.masked_fill(~counted, -torch.inf).amax(dim=2).masked_fill(~counted.any(dim=2), 0)


def _std(groups: Tensor, counted: Optional[Tensor]) -> Tensor:
    """Of all patches, not of a sample of them: divided by N."""
    values = groups.float()
    variance = _mean((values - _mean(values, counted)[:, :, None]) ** 2, counted)
    return variance.clamp(min=MIN_VARIANCE).sqrt().to(groups.dtype)
