"""The pre-norm transformer block of encoder and decoder.

Source: ViT (arXiv:2010.11929) as PaSST and MAE use it; parameters are named as in timm's `vision_transformer`.

Shapes: B batch, L tokens, Q query tokens (the last of them), M tokens of a memory, D width, H heads.
"""

from collections.abc import Sequence
from typing import Optional

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskspec_fairseq.clip_rng import DROP_PATH, check_clip_keys, clip_rng
from maskspec_fairseq.modules.positions import sincos_positions

LAYER_NORM_EPS = 1e-6
# In bf16 on a CPU, attention among up to so many tokens (a clip of 5 s has 248) trains faster by explicit products: the
# backward pass of torch's own kernel is slow there (benchmarks/NOTES.md).
EXPLICIT_TOKENS = 256


class Attention(nn.Module):
    """Multi-head attention: (B, Q, D) -> (B, Q, D).

    Raises:
        ValueError: a width that the heads do not divide.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"expected a width that the heads divide, found {embed_dim} and {num_heads} heads")
        self.num_heads = num_heads
        self.dropout = dropout
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, x: Tensor, memory: Optional[Tensor] = None) -> Tensor:
        """(B, Q, D) -> (B, Q, D): each token of x attends to those of memory, (B, M, D); None: to those of x."""
        if memory is None:
            query, key, value = self._heads(self.qkv(x), 3)
        else:
            width = x.shape[2]
            weight, bias = (p.split([width, 2 * width]) for p in (self.qkv.weight, self.qkv.bias))
            (query,) = self._heads(F.linear(x, weight[0], bias[0]), 1)
            key, value = self._heads(F.linear(memory, weight[1], bias[1]), 2)
        dropout = self.dropout if self.training else 0.0
        bf16_on_cpu = query.device.type == "cpu" and query.dtype == torch.bfloat16
        if self.training and bf16_on_cpu and key.shape[2] <= EXPLICIT_TOKENS:
            x = explicit_attention(query, key, value, dropout)
        else:
            x = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        x = x.transpose(1, 2).flatten(2)  # (B, H, Q, D / H) -> (B, Q, D)
        return F.dropout(self.proj(x), self.dropout, self.training)

    def _heads(self, x: Tensor, count: int) -> Tensor:
        """(B, L, count * D) -> (count, B, H, L, D / H)."""
        return x.unflatten(2, (count, self.num_heads, -1)).permute(2, 0, 3, 1, 4)


def explicit_attention(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
    """softmax(query key' / sqrt(d)) value, (B, H, Q, d), (B, H, M, d) twice -> (B, H, Q, d), by two matrix products.

    What `scaled_dot_product_attention` returns, up to rounding.
    """
    weights = (query * query.shape[3] ** -0.5) @ key.transpose(2, 3)
    return F.dropout(weights.softmax(3), dropout) @ value


class FeedForward(nn.Module):
    """Linear, GELU, linear: (B, L, D) -> (B, L, D)."""

    def __init__(self, embed_dim: int, ffn_embed_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.fc1 = nn.Linear(embed_dim, ffn_embed_dim)
        self.fc2 = nn.Linear(ffn_embed_dim, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        x = F.dropout(F.gelu(self.fc1(x)), self.dropout, self.training)
        return F.dropout(self.fc2(x), self.dropout, self.training)


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + ffn(norm(x)): (B, L, D) -> (B, L, D).

    Args:
        dropout: on attention weights, on both branches' outputs and inside the feed-forward network.
    """

    def __init__(self, embed_dim: int, num_heads: int, ffn_embed_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.attn = Attention(embed_dim, num_heads, dropout)
        self.norm2 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.mlp = FeedForward(embed_dim, ffn_embed_dim, dropout)

    def forward(
        self,
        x: Tensor,
        branch_scale: Optional[Tensor] = None,
        num_queries: Optional[int] = None,
        memory: Optional[Tensor] = None,
    ) -> Tensor:
        """Run the block.

        Args:
            x: (B, L, D).
            branch_scale: (B, 2), factors of the two branches, see `stochastic_depth`.
            num_queries: Q; the last Q tokens alone are computed, which costs less.
            memory: (B, M, D), normalised tokens that x attends to instead of its own.

        Returns:
            (B, L, D), or (B, Q, D).
        """
        queries = self.norm1(x)
        if num_queries is not None:
            memory = queries if memory is None else memory
            x, queries = x[:, -num_queries:], queries[:, -num_queries:]
        x = x + _scaled(self.attn(queries, memory), branch_scale, 0)
        return x + _scaled(self.mlp(self.norm2(x)), branch_scale, 1)


def _scaled(branch: Tensor, scale: Optional[Tensor], index: int) -> Tensor:
    """(B, L, D) times column `index` of (B, 2)."""
    return branch if scale is None else branch * scale[:, index, None, None].to(branch.dtype)


def stochastic_depth(clip_keys: np.ndarray, rates: Sequence[float]) -> Tensor:
    """The factor of each branch of each block: 0 where a clip skips it, 1 / (1 - rate) where it does not.

    Source: arXiv:1603.09382. A clip's draws depend on its key alone.

    Args:
        clip_keys: (B, 3) integers (seed, epoch, clip).
        rates: probability of a skip for each block.

    Returns:
        float32 (B, len(rates), 2), with a mean of 1.
    """
    skipped = np.asarray(rates)[:, None]  # (blocks, 1)
    draws = np.stack([clip_rng(key, DROP_PATH).random((len(rates), 2)) for key in clip_keys])  # (B, blocks, 2)
    return torch.from_numpy((draws >= skipped) / (1 - skipped)).float()


def init_weights(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases of linear layers, as in the released code (for `Module.apply`)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


class TokenStack(nn.Module):
    """Transformer blocks and a final norm over tokens with 2-D positions, with or without a CLS token.

    The CLS token stands first and has position zero, as in MAE.

    Args:
        embed_dim: D.
        layers: number of blocks.
        attention_heads: H.
        ffn_embed_dim: hidden width of the feed-forward networks.
        dropout: see `TransformerBlock`.
        drop_path: rate of stochastic depth in the last block; it grows linearly from 0 in the first one.

    Raises:
        ValueError: a rate outside [0, 1), or a width that the heads do not divide.
    """

    def __init__(
        self,
        embed_dim: int,
        layers: int,
        attention_heads: int,
        ffn_embed_dim: int,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        if not 0 <= drop_path < 1:
            raise ValueError(f"expected model.drop_path from 0 to below 1, found {drop_path}")
        self.drop_path_rates: list[float] = torch.linspace(0, drop_path, layers, device="cpu").tolist()
        self.blocks = nn.ModuleList(
            TransformerBlock(embed_dim, attention_heads, ffn_embed_dim, dropout) for _ in range(layers)
        )
        self.norm: nn.Module = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self._positions: dict[tuple[int, int, torch.device, torch.dtype], Tensor] = {}

    def positions(self, grid: tuple[int, int], like: Tensor) -> Tensor:
        """(1, L, D) for a grid of (rows, columns), computed once per grid, device and dtype.

        Args:
            like: a tensor of the device and dtype that the positions are to have.

        Raises:
            ValueError: a width that is not a multiple of 4.
        """
        key = (*grid, like.device, like.dtype)
        if key not in self._positions:
            self._positions[key] = sincos_positions(*grid, self.embed_dim)[None].to(like)
        return self._positions[key]

    def run_blocks(
        self,
        tokens: Tensor,
        clip_key: Optional[np.ndarray] = None,
        layers: Optional[list[Tensor]] = None,
        num_queries: Optional[int] = None,
        memory: Optional[Tensor] = None,
    ) -> Tensor:
        """Run the blocks and the norm.

        Args:
            tokens: (B, L, D).
            clip_key: (B, 3) integers (seed, epoch, clip), for stochastic depth in training.
            layers: a list that every block's output is appended to.
            num_queries: Q; the last Q tokens alone come out, and the last block computes no others.
            memory: (B, M, D), what every block attends to instead of its own tokens.

        Returns:
            (B, L, D), or (B, Q, D).

        Raises:
            ValueError: stochastic depth in training without the clips' keys.
        """
        scales: list[Optional[Tensor]] = [None] * len(self.blocks)
        if self.training and any(self.drop_path_rates):
            factors = stochastic_depth(check_clip_keys(clip_key, "drop_path"), self.drop_path_rates)
            scales = list(factors.to(tokens.device).unbind(1))  # (B, blocks, 2) -> (B, 2) per block
        for number, (block, scale) in enumerate(zip(self.blocks, scales), start=1):
            scale = scale if block.training else None  # a frozen block is in eval mode
            tokens = block(tokens, scale, num_queries if number == len(self.blocks) else None, memory)
            if layers is not None:
                layers.append(tokens)
        return self.norm(tokens)
