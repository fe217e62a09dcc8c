"""The encoder: visible patches, positions, transformer.

Source: MaskSpec, arXiv:2204.12768, section 2.2 and figure 1.

Shapes: B batch, L patches, V visible, P values per patch, D width.
"""

import math
from collections.abc import Sequence
from typing import Optional

import numpy as np
import torch
from torch import Tensor, nn

from maskspec_fairseq.modules.masking import gather_tokens
from maskspec_fairseq.modules.patches import PatchSize, patch_shape
from maskspec_fairseq.modules.positions import first_columns, sincos_positions
from maskspec_fairseq.modules.transformer import TokenStack, init_weights


class SpectrogramEncoder(TokenStack):
    """Linear projection of the visible patches, positions, transformer (section 2.2).

    Args:
        patch_size: mel bins and frames of a patch, see `PatchSize`.
        embed_dim, layers, attention_heads, ffn_embed_dim, dropout, drop_path: see `TokenStack`.
        cls_token: prepend a CLS token (released code; the paper has none).
        position_grid: (rows, columns) of patches that learned positions are for, which begin as the sinusoidal ones;
            empty for the paper's sinusoidal positions, which are not learned.

    Raises:
        ValueError: a grid that is not (rows, columns); see `TokenStack`.
    """

    def __init__(
        self,
        patch_size: PatchSize,
        embed_dim: int,
        layers: int,
        attention_heads: int,
        ffn_embed_dim: int,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        cls_token: bool = False,
        position_grid: Sequence[int] = (),
    ) -> None:
        super().__init__(embed_dim, layers, attention_heads, ffn_embed_dim, dropout, drop_path)
        self.position_grid = tuple(position_grid)
        self.learned_positions: Optional[nn.Parameter] = None
        if self.position_grid:
            if len(self.position_grid) != 2 or min(self.position_grid) < 1:
                raise ValueError(
                    f"expected model.position_grid as [rows, columns], or [] for sinusoidal positions, "
                    f"found {list(self.position_grid)}"
                )
            rows, columns = self.position_grid
            # Flat, because maskspec_adamw spares what has one dimension from decay, and positions must be spared.
            self.learned_positions = nn.Parameter(sincos_positions(rows, columns, embed_dim).flatten())
        self.patch_embed = nn.Linear(math.prod(patch_shape(patch_size)), embed_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim)) if cls_token else None
        self.apply(init_weights)
        if self.cls_token is not None:
            nn.init.normal_(self.cls_token, std=0.02)

    def positions(self, grid: tuple[int, int], like: Tensor) -> Tensor:
        """(1, L, D) for a grid of (rows, columns): the learned ones where there are any, else the sinusoidal ones."""
        if self.learned_positions is None:
            return super().positions(grid, like)
        table = self.learned_positions.view(*self.position_grid, self.embed_dim)  # (R, M, D)
        return first_columns(table, *grid)[None].to(like)  # (1, L, D)

    def forward(
        self,
        patches: Tensor,
        visible: Optional[Tensor],
        grid: tuple[int, int],
        clip_key: Optional[np.ndarray] = None,
        layers: Optional[list[Tensor]] = None,
    ) -> Tensor:
        """Encode the visible patches; masked ones cost nothing, not even their projection.

        Args:
            patches: (B, L, P), all of them.
            visible: (B, V) indices, None for all patches.
            grid: (rows, columns), L = rows * columns.
            clip_key: (B, 3) integers (seed, epoch, clip), for stochastic depth in training.
            layers: a list that every block's output is appended to.

        Returns:
            (B, V, D), or (B, 1 + V, D) with a CLS token.

        Raises:
            ValueError: stochastic depth in training without the clips' keys.
        """
        tokens = self.patch_embed(gather_tokens(patches, visible).to(self.patch_embed.weight.dtype))  # (B, V, D)
        tokens = tokens + gather_tokens(self.positions(grid, tokens).expand(patches.shape[0], -1, -1), visible)
        if self.cls_token is not None:
            cls_token = self.cls_token.to(tokens.dtype).expand(tokens.shape[0], -1, -1)  # (B, 1, D)
            tokens = torch.cat([cls_token, tokens], dim=1)  # (B, 1 + V, D)
        return self.run_blocks(tokens, clip_key, layers)
