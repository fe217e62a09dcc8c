"""The decoder: mask tokens in the hidden places, transformer, projection to patches.

Source: MaskSpec, arXiv:2204.12768, section 2.3 and figure 1; with cross-attention, which the paper does not have,
CrossMAE, arXiv:2401.14391.

Shapes: B batch, L patches, K masked patches to predict, V visible, P values per patch, D encoder width, E decoder
width.
"""

import math

import torch
from torch import Tensor, nn

from maskspec_fairseq.modules.masking import gather_tokens
from maskspec_fairseq.modules.patches import PatchSize, patch_shape
from maskspec_fairseq.modules.transformer import LAYER_NORM_EPS, TokenStack, init_weights

ATTENTIONS = SELF, CROSS = "self", "cross"


class SpectrogramDecoder(TokenStack):
    """A learnable vector in the masked places, positions again, transformer, projection to patches (section 2.3).

    The paper inserts the vector at the encoder's width; here it is inserted after the projection to the decoder's
    width, as in the released code: the same functions can be learned.

    Args:
        patch_size: mel bins and frames of a patch, see `PatchSize`.
        encoder_embed_dim: D.
        embed_dim, layers, attention_heads, ffn_embed_dim, dropout: see `TokenStack`; embed_dim is E.
        attention: what the masked places attend to: `self`, as in the paper, to all tokens of the decoder; `cross` to
            the encoded patches alone, which are then the same in every block. That costs less, and what is predicted
            for a patch does not depend on which others are.

    Raises:
        ValueError: see `TokenStack`; or an unknown attention.
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
        attention: str = SELF,
    ) -> None:
        if attention not in ATTENTIONS:
            raise ValueError(f"expected model.decoder_attention out of {', '.join(ATTENTIONS)}, found {attention!r}")
        super().__init__(embed_dim, layers, attention_heads, ffn_embed_dim, dropout)
        self.embed = nn.Linear(encoder_embed_dim, embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pred = nn.Linear(embed_dim, math.prod(patch_shape(patch_size)))
        self.memory_norm = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS) if attention == CROSS else None
        self.apply(init_weights)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, encoded: Tensor, visible: Tensor, masked: Tensor, grid: tuple[int, int]) -> Tensor:
        """Predict masked patches, all or some of them; those that are left out are not seen by the others.

        Attention does not depend on the order of tokens, so they stay as [CLS,] visible, masked, each with its own
        position. In the last block (with cross-attention, in every one) the masked ones alone are query tokens, and
        they alone are projected to patches.

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
        positions = gather_tokens(positions, torch.cat([visible, masked], dim=1))  # (B, V + K, E)
        patch_tokens = torch.cat([tokens[:, num_cls:], mask_tokens], dim=1) + positions  # (B, V + K, E)
        tokens = torch.cat([tokens[:, :num_cls], patch_tokens], dim=1)  # (B, [1 +] V + K, E)
        if self.memory_norm is None:
            tokens = self.run_blocks(tokens, num_queries=masked.shape[1])  # (B, K, E)
        else:
            encoded, tokens = tokens.split([num_cls + visible.shape[1], masked.shape[1]], dim=1)
            tokens = self.run_blocks(tokens, memory=self.memory_norm(encoded))  # (B, K, E)
        return self.pred(tokens)  # (B, K, P)
