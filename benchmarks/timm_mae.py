"""The peer of pretraining: a masked autoencoder made of timm's transformer blocks, like MAE's own code.

Source: facebookresearch/mae, models_mae.py (names and steps), for the patches of a spectrogram instead of an image.
Like MaskSpec it has no CLS token; nothing else is left out, and only the positions are ours.

Shapes: B batch, L patches, V visible, P values per patch, D encoder width, E decoder width.
"""

from functools import partial
from typing import Optional

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from maskspec_fairseq.modules.positions import sincos_positions


class TimmMae(nn.Module):
    """Encoder on the visible patches, decoder and prediction on all of them, loss on the masked ones.

    Args:
        grid: (rows, columns) of patches.
        fused: use timm's fused attention; otherwise explicit product, softmax, product.
    """

    pos_embed: Tensor
    decoder_pos_embed: Tensor

    def __init__(
        self,
        grid: tuple[int, int],
        encoder_embed_dim: int = 768,
        encoder_attention_heads: int = 12,
        mask_ratio: float = 0.75,
        fused: bool = True,
        encoder_layers: int = 12,
        decoder_embed_dim: int = 512,
        decoder_layers: int = 8,
        decoder_attention_heads: int = 16,
        patch_size: int = 16,
    ) -> None:
        super().__init__()
        self.mask_ratio = mask_ratio

        def blocks(width: int, heads: int, layers: int) -> nn.ModuleList:
            norm = partial(nn.LayerNorm, eps=1e-6)
            return nn.ModuleList(
                Block(width, heads, qkv_bias=True, norm_layer=norm)  # type: ignore[arg-type]  # as timm itself calls it
                for _ in range(layers)
            )

        self.patch_embed = nn.Linear(patch_size**2, encoder_embed_dim)
        self.blocks = blocks(encoder_embed_dim, encoder_attention_heads, encoder_layers)
        self.norm = nn.LayerNorm(encoder_embed_dim, eps=1e-6)
        self.decoder_embed = nn.Linear(encoder_embed_dim, decoder_embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_embed_dim))
        self.decoder_blocks = blocks(decoder_embed_dim, decoder_attention_heads, decoder_layers)
        self.decoder_norm = nn.LayerNorm(decoder_embed_dim, eps=1e-6)
        self.decoder_pred = nn.Linear(decoder_embed_dim, patch_size**2)
        self.register_buffer("pos_embed", sincos_positions(*grid, encoder_embed_dim)[None])
        self.register_buffer("decoder_pos_embed", sincos_positions(*grid, decoder_embed_dim)[None])
        for block in [*self.blocks, *self.decoder_blocks]:
            block.attn.fused_attn = fused

    def random_masking(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, L, D) and noise (B, L), of which the largest are masked -> (B, V, D), mask (B, L), ids_restore (B, L)."""
        length = x.shape[1]
        kept = length - int(length * self.mask_ratio)
        ids_shuffle = noise.argsort(dim=1)
        ids_restore = ids_shuffle.argsort(dim=1)
        x = x.gather(1, ids_shuffle[:, :kept, None].expand(-1, -1, x.shape[2]))
        mask = torch.ones_like(noise)
        mask[:, :kept] = 0
        return x, mask.gather(1, ids_restore), ids_restore

    def forward(self, patches: Tensor, noise: Optional[Tensor] = None) -> Tensor:
        """The mean squared error of the masked values.

        Args:
            patches: (B, L, P).
            noise: (B, L), chooses the mask; None to draw it.
        """
        noise = torch.rand(patches.shape[:2]) if noise is None else noise
        x = self.patch_embed(patches) + self.pos_embed
        x, mask, ids_restore = self.random_masking(x, noise)
        for block in self.blocks:
            x = block(x)
        x = self.decoder_embed(self.norm(x))
        mask_tokens = self.mask_token.expand(len(x), patches.shape[1] - x.shape[1], -1)
        x = torch.cat([x, mask_tokens], dim=1)
        x = x.gather(1, ids_restore[:, :, None].expand(-1, -1, x.shape[2])) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        prediction = self.decoder_pred(self.decoder_norm(x))
        loss = (prediction - patches).square().mean(dim=2)
        return (loss * mask).sum() / mask.sum()
