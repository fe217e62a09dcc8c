"""The pre-norm transformer block of encoder and decoder.

Source: ViT (arXiv:2010.11929) as PaSST and MAE use it; parameters are named as in timm's `vision_transformer`.

Shapes: B batch, L tokens, Q of them that are asked for, D width, H heads.
"""

from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskspec_fairseq.clip_rng import DROP_PATH, clip_rng
from maskspec_fairseq.modules.positions import sincos_positions

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

    def forward(self, x: Tensor, num_outputs: Optional[int] = None) -> Tensor:
        """(B, L, D) -> (B, Q, D): what the last Q = num_outputs tokens take from all tokens; of all for None."""
        if num_outputs is None:
            query, key, value = self._heads(self.qkv(x), 3)
        else:
            width = x.shape[2]
            weight, bias = (p.split([width, 2 * width]) for p in (self.qkv.weight, self.qkv.bias))
            (query,) = self._heads(F.linear(x[:, -num_outputs:], weight[0], bias[0]), 1)
            key, value = self._heads(F.linear(x, weight[1], bias[1]), 2)
        x = F.scaled_dot_product_attention(query, key, value, dropout_p=self.dropout if self.training else 0.0)
        return F.dropout(self.proj(x.transpose(1, 2).flatten(2)), self.dropout, self.training)

    def _heads(self, x: Tensor, count: int) -> Tensor:
        """(B, L, count * D) -> (count, B, H, L, D / H)."""
        return x.unflatten(2, (count, self.num_heads, -1)).permute(2, 0, 3, 1, 4)


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
    """

    def __init__(self, embed_dim: int, num_heads: int, ffn_embed_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.attn = Attention(embed_dim, num_heads, dropout)
        self.norm2 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.mlp = FeedForward(embed_dim, ffn_embed_dim, dropout)

    def forward(self, x: Tensor, branch_scale: Optional[Tensor] = None, num_outputs: Optional[int] = None) -> Tensor:
        """(B, L, D) -> (B, L, D), or (B, Q, D) of the last Q = num_outputs tokens alone, which costs less.

        branch_scale (B, 2) is what `stochastic_depth` multiplies the two branches by.
        """
        kept = x if num_outputs is None else x[:, -num_outputs:]
        x = kept + _scaled(self.attn(self.norm1(x), num_outputs), branch_scale, 0)
        return x + _scaled(self.mlp(self.norm2(x)), branch_scale, 1)


def _scaled(branch: Tensor, scale: Optional[Tensor], index: int) -> Tensor:
    return branch if scale is None else branch * scale[:, index, None, None].to(branch.dtype)


def stochastic_depth(clip_keys: np.ndarray, rates: Sequence[float]) -> Tensor:
    """What each branch of each block is multiplied by: 0 where a clip skips it, and more than 1 where it does not.

    Source: arXiv:1603.09382. A clip's draws depend on its key alone.

    Args:
        clip_keys: (B, 3) integers (seed, epoch, clip).
        rates: chance of a skip for each block.

    Returns:
        float32 (B, len(rates), 2), with a mean of 1.
    """
    rates = np.asarray(rates)[:, None]
    draws = np.stack([clip_rng(key, DROP_PATH).random((len(rates), 2)) for key in clip_keys])
    return torch.from_numpy((draws >= rates) / (1 - rates)).float()


def init_weights(module: nn.Module) -> None:
    """Xavier-uniform linear layers with zero biases, as the released code has it (for `Module.apply`)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


class TokenStack(nn.Module):
    """Transformer blocks and a final norm over tokens with 2-D positions, with or without a CLS token.

    The CLS token stands first and has position zero, as in MAE.
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
        # Stochastic depth grows linearly with depth, from 0 in the first block.
        self.drop_path_rates = torch.linspace(0, drop_path, layers).tolist()
        self.blocks = nn.ModuleList(
            TransformerBlock(embed_dim, attention_heads, ffn_embed_dim, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self._positions: Dict[Tuple[int, int, torch.device, torch.dtype], Tensor] = {}

    def positions(self, grid: Tuple[int, int], like: Tensor) -> Tensor:
        """(1, L, width) for a grid of (rows, columns), computed once a grid, device and dtype."""
        key = (*grid, like.device, like.dtype)
        if key not in self._positions:
            self._positions[key] = sincos_positions(*grid, self.embed_dim)[None].to(like)
        return self._positions[key]

    def run_blocks(
        self,
        tokens: Tensor,
        clip_key: Optional[np.ndarray] = None,
        layers: Optional[List[Tensor]] = None,
        num_outputs: Optional[int] = None,
    ) -> Tensor:
        """(B, L, D) -> (B, L, D); every block's output is appended to layers, where it is given.

        With num_outputs only the last N = num_outputs tokens come out, (B, N, D), and the last block computes no more.
        """
        scales = [None] * len(self.blocks)
        if self.training and any(self.drop_path_rates):
            if clip_key is None:
                raise ValueError("expected the clips' keys (seed, epoch, clip) for drop_path in training, found none")
            scales = stochastic_depth(clip_key, self.drop_path_rates).to(tokens.device).unbind(1)
        for number, (block, scale) in enumerate(zip(self.blocks, scales), start=1):
            tokens = block(tokens, scale, num_outputs if number == len(self.blocks) else None)
            if layers is not None:
                layers.append(tokens)
        return self.norm(tokens)
