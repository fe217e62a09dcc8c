"""The encoder with a linear layer on top: what finetuning trains.

Source: MaskSpec, arXiv:2204.12768, sections 2.4 and 3.2 (mean pooling, a linear layer; all parameters train).

Shapes: B batch, T samples, F mel bins, S frames, L patches = R rows x M columns, V visible patches, P values per
patch, D width, C classes.
"""

from collections.abc import Sequence
from typing import Optional

import numpy as np
import torch
from torch import Tensor, nn

from maskspec_fairseq.clip_rng import PATCHOUT, check_clip_keys
from maskspec_fairseq.modules.encoder import SpectrogramEncoder
from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.modules.masking import random_masking, split_by_mask
from maskspec_fairseq.modules.patches import patchify
from maskspec_fairseq.modules.sizes import BASE
from maskspec_fairseq.modules.spec_augment import spec_augment
from maskspec_fairseq.modules.transformer import LAYER_NORM_EPS

POOLS = ("mean", "cls")
HEAD_INIT_STD = 2e-5  # of the released code: the first predictions are almost uniform


class SpectrogramClassifier(nn.Module):
    """Front end, encoder, pooling and head.

    Args:
        front_end, sample_rate, mel_jitter: see `LogMel`.
        patch_size: side of a patch, mel bins and frames.
        encoder_*, cls_token, dropout, drop_path: see `SpectrogramEncoder`.
        num_classes: outputs of the head; 0 for no head, as in timm: the output is then the pooled embedding.
        position_grid: of learned positions, see `SpectrogramEncoder`.
        pool: "mean" over the patches, or "cls" for the CLS token.
        norm_after_pool: pool first, and normalise by a new layer instead of the encoder's (released code).
        spec_augment_bins, spec_augment_frames: widest band and stretch that SpecAugment hides in training, 0 for none.
        patchout: share of the patches that is left out in training (PaSST, arXiv:2110.05069), 0 for none.

    Raises:
        ValueError: an argument outside its range, or a front end that the sample rate or the patch size does not fit.
        ImportError: torchaudio does not import, see `LogMel`.

    Example:
        >>> import torch
        >>> from maskspec_fairseq.modules.classifier import SpectrogramClassifier
        >>> model = SpectrogramClassifier(num_classes=10, encoder_layers=1).eval()
        >>> waveform = torch.randn(2, 32000)
        >>> model(waveform).shape, model.embed(waveform).shape
        (torch.Size([2, 10]), torch.Size([2, 768]))
    """

    def __init__(
        self,
        num_classes: int,
        front_end: str = "paper",
        sample_rate: int = 32000,
        mel_jitter: bool = False,
        patch_size: int = 16,
        encoder_embed_dim: int = BASE.encoder_embed_dim,
        encoder_layers: int = BASE.encoder_layers,
        encoder_attention_heads: int = BASE.encoder_attention_heads,
        encoder_ffn_embed_dim: int = BASE.encoder_ffn_embed_dim,
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
        self.pool_norm: Optional[nn.LayerNorm] = None
        if norm_after_pool:
            self.pool_norm = nn.LayerNorm(encoder_embed_dim, eps=LAYER_NORM_EPS)
            self.encoder.norm = nn.Identity()
        self.head: nn.Module = nn.Identity()
        if num_classes:
            head = nn.Linear(encoder_embed_dim, num_classes)
            nn.init.trunc_normal_(head.weight, std=HEAD_INIT_STD)
            nn.init.zeros_(head.bias)
            self.head = head

    def forward(
        self,
        waveform: Tensor,
        clip_key: Optional[np.ndarray] = None,
        mix_waveform: Optional[Tensor] = None,
        mix_ratio: Optional[Tensor] = None,
    ) -> Tensor:
        """Logits of the clips.

        Args:
            waveform: (B, T), floats or float32 bits (see `float32_bits.py`).
            clip_key: (B, 3) integers (seed, epoch, clip) on the host, for what is drawn in training.
            mix_waveform: (B, T), clips whose log-mels are mixed in.
            mix_ratio: (B,), share of the log-mels of `waveform`, needed with `mix_waveform`.

        Returns:
            (B, C).

        Raises:
            ValueError: no keys where training draws, no ratio where log-mels are mixed, or a waveform that the front
                end refuses (see `LogMel.forward`).
        """
        return self.head(self.embed(waveform, clip_key, mix_waveform, mix_ratio))

    def embed(
        self,
        waveform: Tensor,
        clip_key: Optional[np.ndarray] = None,
        mix_waveform: Optional[Tensor] = None,
        mix_ratio: Optional[Tensor] = None,
    ) -> Tensor:
        """The pooled embedding, the head's input, (B, D); arguments and errors of `forward`."""
        tokens = self._encode(waveform, clip_key, mix_waveform, mix_ratio)
        pooled = tokens[:, 0] if self.pool == "cls" else self._patch_tokens(tokens).mean(dim=1)
        return pooled if self.pool_norm is None else self.pool_norm(pooled)

    def embed_columns(self, waveform: Tensor, all_layers: bool = False) -> Tensor:
        """Mean over each column of patches: a vector per 160 ms, with patches of 16 frames of 10 ms.

        Args:
            waveform: (B, T).
            all_layers: the outputs of all blocks next to each other; the last one is normalised.

        Returns:
            (B, M, D), or (B, M, layers * D).

        Raises:
            ValueError: a waveform that the front end refuses (see `LogMel.forward`).
        """
        layers: list[Tensor] = []
        last = self._columns(self._encode(waveform, layers=layers), waveform)  # (B, M, D)
        last = last if self.pool_norm is None else self.pool_norm(last)
        if not all_layers:
            return last
        return torch.cat([*(self._columns(tokens, waveform) for tokens in layers[:-1]), last], dim=2)

    def _columns(self, tokens: Tensor, waveform: Tensor) -> Tensor:
        """(B, [1 +] L, D) -> (B, M, D)."""
        rows_by_columns = self.front_end.grid(waveform.shape[1])
        return self._patch_tokens(tokens).unflatten(1, rows_by_columns).mean(dim=1)  # (B, L, D) -> (B, R, M, D) -> mean

    def _encode(
        self,
        waveform: Tensor,
        clip_key: Optional[np.ndarray] = None,
        mix_waveform: Optional[Tensor] = None,
        mix_ratio: Optional[Tensor] = None,
        layers: Optional[list[Tensor]] = None,
    ) -> Tensor:
        """All tokens that come out of the encoder: (B, V, D), or (B, 1 + V, D) with a CLS token."""
        spectrogram = self.front_end(waveform, clip_key)  # (B, F, S)
        if mix_waveform is not None:
            if mix_ratio is None:
                raise ValueError("expected mix_ratio with mix_waveform, found none")
            ratio = mix_ratio.to(spectrogram)[:, None, None]  # (B, 1, 1)
            spectrogram = ratio * spectrogram + (1 - ratio) * self.front_end(mix_waveform, clip_key)
        if self.training and (self.spec_augment_bins or self.spec_augment_frames):
            keys = check_clip_keys(clip_key, "SpecAugment")
            spectrogram = spec_augment(
                spectrogram, keys, self.spec_augment_bins, self.spec_augment_frames, self.front_end.hidden_value()
            )
        patches = patchify(spectrogram, self.patch_size)  # (B, L, P)
        grid = self.front_end.grid(waveform.shape[1])
        return self.encoder(patches, self._kept(patches, clip_key), grid, clip_key, layers)

    def _patch_tokens(self, tokens: Tensor) -> Tensor:
        """(B, [1 +] V, D) -> (B, V, D)."""
        return tokens if self.encoder.cls_token is None else tokens[:, 1:]

    def _kept(self, patches: Tensor, clip_key: Optional[np.ndarray]) -> Optional[Tensor]:
        """Indices (B, V) of the patches that patchout leaves; None for all of them, as always outside training."""
        if not (self.training and self.patchout):
            return None
        keys = check_clip_keys(clip_key, "patchout")
        kept, _ = split_by_mask(random_masking(keys, patches.shape[1], self.patchout, stream=PATCHOUT))
        return kept.to(patches.device)
