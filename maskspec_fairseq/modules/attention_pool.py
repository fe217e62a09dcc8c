"""Attention pooling: a learned query looks at the tokens of a clip.

Source: the attentive probe of CAE (arXiv:2202.03026), one cross-attention without a feed-forward network. Those of
V-JEPA (arXiv:2404.08471) and timm (`AttentionPoolLatent`) add one, and are deeper models than a probe has to be.

Shapes: B batch, N tokens, D width.
"""

from typing import Optional

import torch
from torch import Tensor, nn

QUERY_INIT_STD = 0.02  # small next to normalised tokens: at first all tokens have nearly the same weight


class AttentionPool(nn.Module):
    """Multi-head cross-attention with a single learned query.

    Args:
        embed_dim: D.
        num_heads: of the attention; they divide D.
    """

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(1, 1, embed_dim))
        nn.init.trunc_normal_(self.query, std=QUERY_INIT_STD)
        self.attention = nn.MultiheadAttention(embed_dim, num_heads, batch_first=True)

    def forward(self, tokens: Tensor, counted: Optional[Tensor] = None) -> Tensor:
        """Pool the tokens of each clip.

        Args:
            tokens: (B, N, D).
            counted: bool (B, N), which tokens count, at least one of each clip; None for all.

        Returns:
            (B, 1, D).
        """
        query = self.query.expand(tokens.shape[0], -1, -1)  # (B, 1, D)
        hidden = None if counted is None else ~counted
        return self.attention(query, tokens, tokens, key_padding_mask=hidden, need_weights=False)[0]
