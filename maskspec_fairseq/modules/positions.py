"""2-D positions for a grid of patches: sinusoidal ones, and learned ones fitted to another grid.

Source: "sinusoidal position encoding", MaskSpec, arXiv:2204.12768, section 2.4; the layout over two axes is that of
MAE (arXiv:2111.06377): the first half of the width encodes time, the second half frequency.

Shapes: R rows (frequency), M columns (time), L = R * M patches, D width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def sincos_positions(rows: int, columns: int, embed_dim: int) -> Tensor:
    """Sinusoidal positions of a grid of rows (frequency) x columns (time) -> float32 (L, D).

    Raises:
        ValueError: the width is not a multiple of 4.
    """
    if embed_dim % 4:
        raise ValueError(f"expected an embedding width in multiples of 4 for 2-D positions, found {embed_dim}")
    quarter = embed_dim // 4
    omega = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)

    def encode(length: int) -> Tensor:
        angles = torch.arange(length, dtype=torch.float64)[:, None] * omega  # (length, D / 4)
        return torch.cat([angles.sin(), angles.cos()], dim=1)  # (length, D / 2)

    time = encode(columns)[None].expand(rows, -1, -1)  # (R, M, D / 2)
    frequency = encode(rows)[:, None].expand(-1, columns, -1)  # (R, M, D / 2)
    return torch.cat([time, frequency], dim=2).reshape(rows * columns, embed_dim).float()  # (L, D)


def first_columns(table: Tensor, rows: int, columns: int) -> Tensor:
    """Learned positions for the grid of an input: the table's first columns, because columns are time.

    A table with too few columns, or with other rows, is interpolated.

    Args:
        table: (R, M, D), as learned.
        rows, columns: the grid of the input.

    Returns:
        (rows * columns, D).
    """
    table = table[:, :columns]
    if table.shape[:2] != (rows, columns):
        table = interpolate_positions(table, rows, columns)
    return table.flatten(0, 1)


def interpolate_positions(table: Tensor, rows: int, columns: int) -> Tensor:
    """Stretch positions over another grid, bicubically, in float32: (R, M, D) -> (rows, columns, D)."""
    image = table.float().permute(2, 0, 1)[None]  # (1, D, R, M)
    stretched = F.interpolate(image, size=(rows, columns), mode="bicubic", align_corners=False)
    return stretched[0].permute(1, 2, 0).to(table.dtype)  # (rows, columns, D)
