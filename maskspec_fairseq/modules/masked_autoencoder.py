"""Encoder, decoder, and the masked autoencoder that they make with the front end.

Source: MaskSpec, arXiv:2204.12768, sections 2.2 to 2.4 and figure 1.

Shapes: B batch, T samples, F mel bins, S frames, L patches, N masked, V visible, P values a patch, D encoder width,
E decoder width.
"""

from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.modules.masking import num_masked, random_masking, split_by_mask
from maskspec_fairseq.modules.patches import patchify
from maskspec_fairseq.modules.positions import first_columns, sincos_positions
from maskspec_fairseq.modules.transformer import LAYER_NORM_EPS, TransformerBlock, init_weights, stochastic_depth

TARGET_EPS = 1e-6


def take(tokens: Tensor, indices: Optional[Tensor]) -> Tensor:
    """(B, L, D) and (B, K) -> (B, K, D), the tokens at the indices; all of them for None."""
    if indices is None:
        return tokens
    return tokens.gather(1, indices[:, :, None].expand(-1, -1, tokens.shape[2]))


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


class SpectrogramEncoder(TokenStack):
    """Linear projection of the visible patches, positions, transformer (section 2.2).

    Args:
        position_grid: (rows, columns) of patches that learned positions are for, which begin as the sinusoidal ones;
            empty for the paper's sinusoidal positions, which are not learned.
    """

    def __init__(
        self,
        patch_size: int,
        embed_dim: int,
        *args,
        cls_token: bool = False,
        position_grid: Sequence[int] = (),
        **kwargs,
    ) -> None:
        super().__init__(embed_dim, *args, **kwargs)
        self.position_grid = tuple(position_grid)
        if self.position_grid and (len(self.position_grid) != 2 or min(self.position_grid) < 1):
            raise ValueError(
                f"expected model.position_grid as [rows, columns], or [] for sinusoidal positions, "
                f"found {list(self.position_grid)}"
            )
        self.learned_positions = None
        if self.position_grid:
            # Flat, because maskspec_adamw spares what has one dimension from decay, and positions must be spared.
            self.learned_positions = nn.Parameter(sincos_positions(*self.position_grid, embed_dim).flatten())
        self.patch_embed = nn.Linear(patch_size * patch_size, embed_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim)) if cls_token else None
        self.apply(init_weights)
        if cls_token:
            nn.init.normal_(self.cls_token, std=0.02)

    def positions(self, grid: Tuple[int, int], like: Tensor) -> Tensor:
        if self.learned_positions is None:
            return super().positions(grid, like)
        table = self.learned_positions.view(*self.position_grid, self.embed_dim)
        return first_columns(table, *grid)[None].to(like)

    def forward(
        self,
        patches: Tensor,
        visible: Optional[Tensor],
        grid: Tuple[int, int],
        clip_key: Optional[np.ndarray] = None,
        layers: Optional[List[Tensor]] = None,
    ) -> Tensor:
        """Encode what is visible; masked patches cost nothing, not even their projection.

        Args:
            patches: (B, L, P), all of them.
            visible: (B, V) indices, None for all patches.
            grid: (rows, columns), L = rows * columns.
            clip_key: (B, 3) integers (seed, epoch, clip), for stochastic depth in training.
            layers: a list that every block's output is appended to.

        Returns:
            (B, V, D), or (B, 1 + V, D) with a CLS token.
        """
        tokens = self.patch_embed(take(patches, visible).to(self.patch_embed.weight.dtype))
        tokens = tokens + take(self.positions(grid, tokens).expand(patches.shape[0], -1, -1), visible)
        if self.cls_token is not None:
            tokens = torch.cat([self.cls_token.to(tokens.dtype).expand(tokens.shape[0], -1, -1), tokens], dim=1)
        return self.run_blocks(tokens, clip_key, layers)


class SpectrogramDecoder(TokenStack):
    """A learnable vector in the masked places, positions again, transformer, projection to patches (section 2.3).

    The paper inserts the vector at the encoder's width; here it is inserted after the projection to the decoder's
    width, as in the released code: the same functions can be learned.
    """

    def __init__(self, patch_size: int, encoder_embed_dim: int, embed_dim: int, *args, **kwargs) -> None:
        super().__init__(embed_dim, *args, **kwargs)
        self.embed = nn.Linear(encoder_embed_dim, embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pred = nn.Linear(embed_dim, patch_size * patch_size)
        self.apply(init_weights)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, encoded: Tensor, visible: Tensor, masked: Tensor, grid: Tuple[int, int]) -> Tensor:
        """Predict the masked patches.

        Attention does not care for order, so the tokens stay as [CLS,] visible, masked, each with its own
        position; only the masked ones go through the last layer, and in the last block only they ask for anything.

        Args:
            encoded: (B, V, D), or (B, 1 + V, D) with a CLS token.
            visible, masked: (B, V) and (B, N) indices.

        Returns:
            (B, N, P).
        """
        tokens = self.embed(encoded)
        batch, num_cls = len(tokens), tokens.shape[1] - visible.shape[1]
        mask_tokens = self.mask_token.to(tokens.dtype).expand(batch, masked.shape[1], -1)
        positions = self.positions(grid, tokens).expand(batch, -1, -1)
        positions = take(positions, torch.cat([visible, masked], dim=1))
        patch_tokens = torch.cat([tokens[:, num_cls:], mask_tokens], dim=1) + positions
        tokens = torch.cat([tokens[:, :num_cls], patch_tokens], dim=1)
        return self.pred(self.run_blocks(tokens, num_outputs=masked.shape[1]))


class MaskedAutoencoder(nn.Module):
    """Front end, masking, encoder and decoder: everything of MaskSpec but its loss.

    Args:
        front_end, sample_rate, mel_jitter: see `LogMel`.
        mask_ratio: share of the patches that is hidden, alpha of algorithm 1.
        cls_token: prepend a CLS token (released code; the paper has none).
        position_grid: of the encoder's learned positions, see `SpectrogramEncoder`; the decoder's are sinusoidal.
        norm_pix_loss: normalise each target patch by its own mean and deviation (released scripts; not in the paper).
        encoder_ffn_embed_dim: 4 x the width. The paper's text says 2048 for the base model, but its table's 86 M
            parameters and its released code are 3072.
    """

    def __init__(
        self,
        front_end: str = "paper",
        sample_rate: int = 32000,
        mel_jitter: bool = False,
        patch_size: int = 16,
        mask_ratio: float = 0.75,
        encoder_embed_dim: int = 768,
        encoder_layers: int = 12,
        encoder_attention_heads: int = 12,
        encoder_ffn_embed_dim: int = 3072,
        decoder_embed_dim: int = 512,
        decoder_layers: int = 8,
        decoder_attention_heads: int = 16,
        decoder_ffn_embed_dim: int = 2048,
        cls_token: bool = False,
        position_grid: Sequence[int] = (),
        dropout: float = 0.0,
        drop_path: float = 0.0,
        norm_pix_loss: bool = False,
    ) -> None:
        super().__init__()
        num_masked(10**6, mask_ratio)  # refuse a ratio outside the paper's range before any training step
        self.front_end = LogMel(front_end, sample_rate, frame_multiple=patch_size, mel_jitter=mel_jitter)
        self.patch_size = patch_size
        self.mask_ratio = mask_ratio
        self.norm_pix_loss = norm_pix_loss
        self.encoder = SpectrogramEncoder(
            patch_size,
            encoder_embed_dim,
            encoder_layers,
            encoder_attention_heads,
            encoder_ffn_embed_dim,
            dropout,
            drop_path,
            cls_token=cls_token,
            position_grid=position_grid,
        )
        self.decoder = SpectrogramDecoder(
            patch_size,
            encoder_embed_dim,
            decoder_embed_dim,
            decoder_layers,
            decoder_attention_heads,
            decoder_ffn_embed_dim,
            dropout,
        )

    def forward(
        self,
        waveform: Tensor,
        num_samples: Optional[Tensor] = None,
        clip_key: Optional[np.ndarray] = None,
        mask: Optional[Tensor] = None,
    ) -> Dict[str, Tensor]:
        """Hide patches of the clips and predict them.

        Args:
            waveform: (B, T), floats or float32 bits (see `bit_pattern`), padded to a common length.
            num_samples: (B,) samples before the padding; None if nothing is padded.
            clip_key: (B, 3) integers (seed, epoch, clip) on the host, from which the masks are drawn.
            mask: bool (B, L) on the CPU, to choose the mask instead of drawing it.

        Returns:
            prediction: (B, N, P), what the decoder says of the masked patches.
            target: float32 (B, N, P), what they hold.
            scored: bool (B, N), False where a masked patch begins (the centre of its first frame) in the padding.
            mask: bool (B, L) on the CPU, True where masked.
        """
        spectrogram = self.front_end(waveform, clip_key)  # (B, F, S)
        patches = patchify(spectrogram, self.patch_size)
        grid = self.front_end.grid(waveform.shape[1])
        if mask is None:
            if clip_key is None:
                raise ValueError("expected either a mask or the clips' keys (seed, epoch, clip), found neither")
            mask = random_masking(clip_key, patches.shape[1], self.mask_ratio)
        visible, masked = (index.to(patches.device, non_blocking=True) for index in split_by_mask(mask))
        encoded = self.encoder(patches, visible, grid, clip_key)
        return {
            "prediction": self.decoder(encoded, visible, masked, grid),
            "target": self.normalise_target(take(patches, masked)),
            "scored": self._not_padding(masked, grid[1], num_samples),
            "mask": mask,
        }

    def normalise_target(self, patches: Tensor) -> Tensor:
        """(B, N, P) -> (B, N, P), with `norm_pix_loss` each patch by its own mean and deviation."""
        if not self.norm_pix_loss:
            return patches
        variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
        return (patches - mean) / (variance + TARGET_EPS).sqrt()

    def denormalise_prediction(self, prediction: Tensor, patches: Tensor) -> Tensor:
        """Undo `norm_pix_loss` with the mean and deviation of the true patches; both (B, N, P)."""
        if not self.norm_pix_loss:
            return prediction
        variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
        return prediction * (variance + TARGET_EPS).sqrt() + mean

    def _not_padding(self, masked: Tensor, columns: int, num_samples: Optional[Tensor]) -> Tensor:
        """bool (B, N): the patch's first frame is centred on a sample of the clip."""
        if num_samples is None:
            return torch.ones_like(masked, dtype=torch.bool)
        first_sample = (masked % columns) * (self.patch_size * self.front_end.hop_length)
        return first_sample < num_samples[:, None]
