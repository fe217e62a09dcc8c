"""The pre-norm transformer block of encoder and decoder.

Source: ViT (arXiv:2010.11929) as PaSST and MAE use it; parameters are named as in timm's `vision_transformer`.

Shapes: B batch, L tokens, D width, H heads.
"""

import torch.nn.functional as F
from torch import Tensor, nn

LAYER_NORM_EPS = 1e-6


class Attention(nn.Module):
    """Multi-head self-attention through `scaled_dot_product_attention`: (B, L, D) -> (B, L, D)."""

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"expected a width that the heads divide, found {embed_dim} and {num_heads} heads")
        self.num_heads = num_heads
        self.dropout = dropout
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.num_heads, width // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # 3 x (B, H, L, D / H)
        x = F.scaled_dot_product_attention(query, key, value, dropout_p=self.dropout if self.training else 0.0)
        x = x.transpose(1, 2).reshape(batch, length, width)
        return F.dropout(self.proj(x), self.dropout, self.training)


class FeedForward(nn.Module):
    """Linear, GELU, linear: (B, L, D) -> (B, L, D)."""

    def __init__(self, embed_dim: int, ffn_embed_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.fc1 = nn.Linear(embed_dim, ffn_embed_dim)
        self.fc2 = nn.Linear(ffn_embed_dim, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(F.gelu(self.fc1(x)), self.dropout, self.training)
        return F.dropout(self.fc2(x), self.dropout, self.training)


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + ffn(norm(x)): (B, L, D) -> (B, L, D).

    Args:
        dropout: on attention weights, on both branches' outputs and inside the feed-forward network.
        drop_path: chance that a clip skips a branch in training (stochastic depth, arXiv:1603.09382).
    """

    def __init__(
        self, embed_dim: int, num_heads: int, ffn_embed_dim: int, dropout: float = 0.0, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.attn = Attention(embed_dim, num_heads, dropout)
        self.norm2 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.mlp = FeedForward(embed_dim, ffn_embed_dim, dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._drop_path(self.attn(self.norm1(x)))
        return x + self._drop_path(self.mlp(self.norm2(x)))

    def _drop_path(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0.0:
            return branch
        keep = branch.new_ones(branch.shape[0], 1, 1)
        return branch * F.dropout(keep, self.drop_path)


def init_weights(module: nn.Module) -> None:
    """Xavier-uniform linear layers with zero biases, as the released code has it (for `Module.apply`)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
