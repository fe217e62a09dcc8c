"""The peer of pretraining: a masked autoencoder put together from timm's transformer blocks, as MAE's own code is.

Source: facebookresearch/mae, models_mae.py (names and steps), for the patches of a spectrogram in place of an image.
It has no CLS token, as MaskSpec has none; nothing else is left out, and nothing of ours is in it but the positions.

Shapes: B batch, L patches, V visible, P values a patch, D encoder width, E decoder width.
"""

from typing import Optional, Tuple

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from maskspec_fairseq.modules.positions import sincos_positions


class TimmMae(nn.Module):
    """Encoder on the visible patches, decoder and prediction on all of them, loss on the masked ones.

    Args:
        grid: (rows, columns) of patches.
        fused: timm's fused attention; else the explicit product, softmax, product.
    """

    def __init__(
        self,
        grid: Tuple[int, int],
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
            norm = dict(norm_layer=lambda width, **kwargs: nn.LayerNorm(width, eps=1e-6, **kwargs))
            return nn.ModuleList(Block(width, heads, qkv_bias=True, **norm) for _ in range(layers))

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

    def random_masking(self, x: Tensor, noise: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
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
        """(B, L, P) -> the mean squared error of the masked values.

        noise: (B, L), to choose the mask instead of drawing it.
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
