"""The decoder: mask tokens in the hidden places, transformer, projection to patches.

Source: MaskSpec, arXiv:2204.12768, section 2.3 and figure 1.

Shapes: B batch, L patches, K masked patches to predict, V visible, P values per patch, D encoder width, E decoder
width.
"""

import math

import torch
from torch import Tensor, nn

from maskspec_fairseq.modules.masking import gather_tokens
from maskspec_fairseq.modules.patches import PatchSize, patch_shape
from maskspec_fairseq.modules.transformer import LAYER_NORM_EPS, CrossBlock, TokenStack, init_weights


class SpectrogramDecoder(TokenStack):
    """A learnable vector in the masked places, positions again, transformer, projection to patches (section 2.3).

    The paper inserts the vector at the encoder's width; here it is inserted after the projection to the decoder's
    width, as in the released code: the same functions can be learned.

    Args:
        patch_size: mel bins and frames of a patch, see `PatchSize`.
        encoder_embed_dim: D.
        embed_dim, layers, attention_heads, ffn_embed_dim, dropout: see `TokenStack`; embed_dim is E.

    Raises:
        ValueError: see `TokenStack`.
    """

    def __init__(
        self,
        patch_size: PatchSize,
        encoder_embed_dim: int,
        embed_dim: int,
        layers: int,
        attention_heads: int,
        ffn_embed_dim: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(embed_dim, layers, attention_heads, ffn_embed_dim, dropout)
        self.blocks = nn.ModuleList(
            CrossBlock(embed_dim, attention_heads, ffn_embed_dim, dropout) for _ in range(layers)
        )
        self.memory_norm = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.embed = nn.Linear(encoder_embed_dim, embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pred = nn.Linear(embed_dim, math.prod(patch_shape(patch_size)))
        self.apply(init_weights)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, encoded: Tensor, visible: Tensor, masked: Tensor, grid: tuple[int, int]) -> Tensor:
        """Predict masked patches, all or some of them; those that are left out are not seen by the others.

        Attention does not depend on the order of tokens, so they stay as [CLS,] visible, masked, each with its own
        position. In the last block the masked ones alone are query tokens, and they alone are projected to patches.

        Args:
            encoded: (B, V, D), or (B, 1 + V, D) with a CLS token.
            visible, masked: (B, V) and (B, K) indices.
            grid: (rows, columns), L = rows * columns.

        Returns:
            (B, K, P).
        """
        tokens = self.embed(encoded)  # (B, [1 +] V, E)
        batch, num_cls = len(tokens), tokens.shape[1] - visible.shape[1]
        mask_tokens = self.mask_token.to(tokens.dtype).expand(batch, masked.shape[1], -1)  # (B, K, E)
        positions = self.positions(grid, tokens).expand(batch, -1, -1)  # (B, L, E)
        memory = tokens[:, num_cls:] + gather_tokens(positions, visible)  # (B, V, E)
        memory = self.memory_norm(torch.cat([tokens[:, :num_cls], memory], dim=1))  # (B, [1 +] V, E)
        tokens = mask_tokens + gather_tokens(positions, masked)  # (B, K, E)
        for block in self.blocks:
            tokens = block(tokens, memory)
        return self.pred(self.norm(tokens))  # (B, K, E) -> (B, K, P)
