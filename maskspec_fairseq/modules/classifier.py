"""The encoder with a linear layer on top: what finetuning trains.

Source: MaskSpec, arXiv:2204.12768, section 2.4 and 3.2 (mean pooling, a linear layer, all parameters train).

Shapes: B batch, T samples, F mel bins, S frames, L patches = R rows x M columns, V visible patches, D width, C classes.
"""

from typing import List, Optional, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from maskspec_fairseq.clip_rng import PATCHOUT
from maskspec_fairseq.modules.encoder import SpectrogramEncoder
from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.modules.masking import random_masking, split_by_mask
from maskspec_fairseq.modules.patches import patchify
from maskspec_fairseq.modules.spec_augment import spec_augment
from maskspec_fairseq.modules.transformer import LAYER_NORM_EPS

POOLS = ("mean", "cls")
HEAD_INIT_STD = 2e-5  # of the released code: the first predictions are all but uniform


class SpectrogramClassifier(nn.Module):
    """Front end, encoder, pooling and head.

    Args:
        front_end, sample_rate, mel_jitter: see `LogMel`.
        num_classes: outputs of the head; 0 for no head, as in timm: the output is then what a head would see.
        position_grid: of learned positions, see `SpectrogramEncoder`.
        pool: "mean" over the patches, or "cls" for the CLS token.
        norm_after_pool: pool first, and normalise by a new layer instead of the encoder's (released code).
        spec_augment_bins, spec_augment_frames: widest band and stretch that SpecAugment hides in training, 0 for none.
        patchout: share of the patches that are left out in training (PaSST, arXiv:2110.05069), 0 for none.
    """

    def __init__(
        self,
        num_classes: int,
        front_end: str = "paper",
        sample_rate: int = 32000,
        mel_jitter: bool = False,
        patch_size: int = 16,
        encoder_embed_dim: int = 768,
        encoder_layers: int = 12,
        encoder_attention_heads: int = 12,
        encoder_ffn_embed_dim: int = 3072,
        cls_token: bool = False,
        position_grid: Sequence[int] = (),
        pool: str = "mean",
        norm_after_pool: bool = False,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        spec_augment_bins: int = 0,
        spec_augment_frames: int = 0,
        patchout: float = 0.0,
    ) -> None:
        super().__init__()
        if pool not in POOLS:
            raise ValueError(f"expected model.pool out of {POOLS}, found {pool!r}")
        if pool == "cls" and not cls_token:
            raise ValueError("expected model.cls_token=true for model.pool=cls, found false")
        if not 0 <= patchout < 1:
            raise ValueError(f"expected model.patchout from 0 to below 1, found {patchout}")
        self.front_end = LogMel(front_end, sample_rate, frame_multiple=patch_size, mel_jitter=mel_jitter)
        self.patch_size = patch_size
        self.pool = pool
        self.spec_augment_bins = spec_augment_bins
        self.spec_augment_frames = spec_augment_frames
        self.patchout = patchout
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
        self.pool_norm = None
        if norm_after_pool:
            self.pool_norm = nn.LayerNorm(encoder_embed_dim, eps=LAYER_NORM_EPS)
            self.encoder.norm = nn.Identity()
        self.head = nn.Identity()
        if num_classes:
            self.head = nn.Linear(encoder_embed_dim, num_classes)
            nn.init.trunc_normal_(self.head.weight, std=HEAD_INIT_STD)
            nn.init.zeros_(self.head.bias)

    def forward(
        self,
        waveform: Tensor,
        clip_key: Optional[np.ndarray] = None,
        mix_waveform: Optional[Tensor] = None,
        mix_ratio: Optional[Tensor] = None,
    ) -> Tensor:
        """Logits of the clips.

        Args:
            waveform: (B, T), floats or float32 bits (see `bit_pattern`).
            clip_key: (B, 3) integers (seed, epoch, clip) on the host, for what is drawn in training.
            mix_waveform: (B, T), clips whose log-mels are mixed in.
            mix_ratio: (B,), share of the first clips.

        Returns:
            (B, C).
        """
        return self.head(self.embed(waveform, clip_key, mix_waveform, mix_ratio))

    def embed(
        self,
        waveform: Tensor,
        clip_key: Optional[np.ndarray] = None,
        mix_waveform: Optional[Tensor] = None,
        mix_ratio: Optional[Tensor] = None,
    ) -> Tensor:
        """What the head sees of the clips, (B, D); arguments as in `forward`."""
        tokens = self._encode(waveform, clip_key, mix_waveform, mix_ratio)
        pooled = tokens[:, 0] if self.pool == "cls" else self._patch_tokens(tokens).mean(dim=1)
        return pooled if self.pool_norm is None else self.pool_norm(pooled)

    def embed_columns(self, waveform: Tensor, all_layers: bool = False) -> Tensor:
        """The mean over each column of patches, (B, T) -> (B, M, D): a vector for every 160 ms with patches of 16.

        all_layers: (B, M, layers * D), the outputs of all blocks one after the other; the last one is normalised.
        """
        layers: List[Tensor] = []
        last = self._columns(self._encode(waveform, layers=layers), waveform)
        last = last if self.pool_norm is None else self.pool_norm(last)
        if not all_layers:
            return last
        return torch.cat([*(self._columns(tokens, waveform) for tokens in layers[:-1]), last], dim=2)

    def _columns(self, tokens: Tensor, waveform: Tensor) -> Tensor:
        """(B, [1 +] L, D) -> (B, M, D)."""
        return self._patch_tokens(tokens).unflatten(1, self.front_end.grid(waveform.shape[1])).mean(dim=1)

    def _encode(
        self,
        waveform: Tensor,
        clip_key: Optional[np.ndarray] = None,
        mix_waveform: Optional[Tensor] = None,
        mix_ratio: Optional[Tensor] = None,
        layers: Optional[List[Tensor]] = None,
    ) -> Tensor:
        """(B, V, D), or (B, 1 + V, D) with a CLS token."""
        spectrogram = self.front_end(waveform, clip_key)  # (B, F, S)
        if mix_waveform is not None:
            ratio = mix_ratio.to(spectrogram)[:, None, None]
            spectrogram = ratio * spectrogram + (1 - ratio) * self.front_end(mix_waveform, clip_key)
        if self.training and (self.spec_augment_bins or self.spec_augment_frames):
            spectrogram = spec_augment(spectrogram, clip_key, self.spec_augment_bins, self.spec_augment_frames)
        patches = patchify(spectrogram, self.patch_size)
        grid = self.front_end.grid(waveform.shape[1])
        return self.encoder(patches, self._kept(patches, clip_key), grid, clip_key, layers)

    def _patch_tokens(self, tokens: Tensor) -> Tensor:
        """(B, [1 +] V, D) -> (B, V, D)."""
        return tokens if self.encoder.cls_token is None else tokens[:, 1:]

    def _kept(self, patches: Tensor, clip_key: Optional[np.ndarray]) -> Optional[Tensor]:
        """Indices (B, V) of the patches that patchout leaves; None for all of them, as they are outside training."""
        if not (self.training and self.patchout):
            return None
        kept, _ = split_by_mask(random_masking(clip_key, patches.shape[1], self.patchout, stream=PATCHOUT))
        return kept.to(patches.device)
