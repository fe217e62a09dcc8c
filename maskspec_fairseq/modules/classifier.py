"""The encoder with a linear layer on top: what finetuning trains.

Source: MaskSpec, arXiv:2204.12768, sections 2.4 and 3.2 (mean pooling, a linear layer; all parameters train).

Shapes: B batch, T samples, F mel bins, S frames, L patches = R rows x M columns, V visible patches, P values per
patch, D width, G vectors of an embedding, E = G * D, C classes.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Optional

import numpy as np
import torch
from torch import Tensor, nn

from maskspec_fairseq.clip_rng import PATCHOUT, check_clip_keys
from maskspec_fairseq.modules.attention_pool import AttentionPool
from maskspec_fairseq.modules.encoder import SpectrogramEncoder
from maskspec_fairseq.modules.frame_head import check_head
from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.modules.masking import random_masking, split_by_mask
from maskspec_fairseq.modules.patches import PatchSize, patch_shape, patchify
from maskspec_fairseq.modules.pooling import (
    ATTENTION,
    by_row,
    check_pool,
    num_vectors,
    pool_clips,
    pool_columns,
    to_grid,
)
from maskspec_fairseq.modules.sizes import BASE
from maskspec_fairseq.modules.spec_augment import spec_augment
from maskspec_fairseq.modules.transformer import LAYER_NORM_EPS

HEAD_INIT_STD = 2e-5  # of the released code: the first predictions are almost uniform


class SpectrogramClassifier(nn.Module):
    """Front end, encoder, pooling and head.

    Args:
        front_end, sample_rate, mel_jitter: see `LogMel`.
        patch_size: mel bins and frames of a patch, see `PatchSize`.
        encoder_*, cls_token, dropout, drop_path: see `SpectrogramEncoder`.
        num_classes: outputs of the head; 0 for no head, as in timm: the output is then the pooled embedding.
        position_grid: of learned positions, see `SpectrogramEncoder`.
        pool: of the patches, or the CLS token, see `pooling.py`; E follows from it.
        norm_after_pool: pool first, and normalise each of the G vectors by a new layer instead of the encoder's
            (released code).
        spec_augment_bins, spec_augment_frames: widest band and stretch that SpecAugment hides in training, 0 for none.
        patchout: share of the patches that is left out in training (PaSST, arXiv:2110.05069), 0 for none.
        head: "linear", one layer on the embedding of the clip, or "frames", one on that of each column of patches.

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
        patch_size: PatchSize = 16,
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
        head: str = "linear",
    ) -> None:
        super().__init__()
        check_pool(pool, cls_token)
        check_head(head, pool, patchout)
        if not 0 <= patchout < 1:
            raise ValueError(f"expected model.patchout from 0 to below 1, found {patchout}")
        self.front_end = LogMel(front_end, sample_rate, patch_size, mel_jitter)
        self.patch_size = patch_shape(patch_size)
        self.pool = pool
        self.spec_augment_bins = spec_augment_bins
        self.spec_augment_frames = spec_augment_frames
        self.patchout = patchout
        self.encoder_is_frozen = False  # in training, see `freezing.py`
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
        self.head_of_frames = head == "frames"
        self.head: nn.Module = nn.Identity()
        self.attention_pool = AttentionPool(encoder_embed_dim, encoder_attention_heads) if pool == ATTENTION else None
        if num_classes:
            layer = nn.Linear(self.column_dim if self.head_of_frames else self.embedding_dim, num_classes)
            nn.init.trunc_normal_(layer.weight, std=HEAD_INIT_STD)
            nn.init.zeros_(layer.bias)
            self.head = layer

    def forward(
        self,
        waveform: Tensor,
        clip_key: Optional[np.ndarray] = None,
        mix_waveform: Optional[Tensor] = None,
        mix_ratio: Optional[Tensor] = None,
    ) -> Tensor:
        """Logits of the clips, or of their columns of patches.

        Args:
            waveform: (B, T), floats or float32 bits (see `float32_bits.py`).
            clip_key: (B, 3) integers (seed, epoch, clip) on the host, for what is drawn in training.
            mix_waveform: (B, T), clips whose log-mels are mixed in.
            mix_ratio: (B,), share of the log-mels of `waveform`, needed with `mix_waveform`.

        Returns:
            (B, C), or (B, M, C) with a head of frames, of which `pool_frames` makes those of the clips.

        Raises:
            ValueError: no keys where training draws, no ratio where log-mels are mixed, or a waveform that the front
                end refuses (see `LogMel.forward`).
        """
        if self.head_of_frames:
            return self.head(self.embed_columns(waveform, (), clip_key, mix_waveform, mix_ratio))
        return self.head(self.embed(waveform, clip_key, mix_waveform, mix_ratio))

    @property
    def embedding_dim(self) -> int:
        """E, of one layer."""
        return num_vectors(self.pool, self._rows) * self.encoder.embed_dim

    @property
    def column_dim(self) -> int:
        """Width of a column's embedding, of one layer."""
        return (self._rows if by_row(self.pool) else 1) * self.encoder.embed_dim

    @property
    def _rows(self) -> int:
        return self.front_end.n_mels // self.patch_size[0]

    def embed(
        self,
        waveform: Tensor,
        clip_key: Optional[np.ndarray] = None,
        mix_waveform: Optional[Tensor] = None,
        mix_ratio: Optional[Tensor] = None,
        counted: Optional[Tensor] = None,
        layers: Sequence[int] = (),
    ) -> Tensor:
        """The pooled embedding, the head's input; the other arguments and the errors are those of `forward`.

        Args:
            counted: bool (B, M), the columns of patches that count, outside training; None for all.
            layers: numbers of blocks, from 1, whose outputs are pooled; of these, the last block's alone is normalised.
                Empty for the last one.

        Returns:
            (B, E), or (B, layers * E) with the layers side by side.
        """
        grid = self.front_end.grid(waveform.shape[1])
        tokens, visible = self._encode(waveform, layers, clip_key, mix_waveform, mix_ratio)
        pooled = {
            number: self._pool(output, visible, grid, counted) for number, output in tokens.items()
        }  # (B, G, D) each
        return self._side_by_side(pooled, layers)

    def embed_columns(
        self,
        waveform: Tensor,
        layers: Sequence[int] = (),
        clip_key: Optional[np.ndarray] = None,
        mix_waveform: Optional[Tensor] = None,
        mix_ratio: Optional[Tensor] = None,
    ) -> Tensor:
        """Embed each column of patches: a vector per 160 ms, with patches of 16 frames of 10 ms.

        It is the mean over the column, or its rows side by side where the pooling keeps them apart. There is no
        patchout; the other arguments are those of `forward`.

        Args:
            waveform: (B, T).
            layers: as for `embed`.

        Returns:
            (B, M, column_dim), or (B, M, layers * column_dim).

        Raises:
            ValueError: a waveform that the front end refuses (see `LogMel.forward`).
        """
        grid = self.front_end.grid(waveform.shape[1])
        tokens, _ = self._encode(waveform, layers, clip_key, mix_waveform, mix_ratio)
        columns = {
            number: pool_columns(self.pool, self._patch_tokens(output).unflatten(1, grid))  # (B, M, G, D)
            for number, output in tokens.items()
        }
        return self._side_by_side(columns, layers)

    def _side_by_side(self, vectors: dict[int, Tensor], layers: Sequence[int]) -> Tensor:
        """(..., G, D) per layer -> (..., layers * G * D); those of the last layer are normalised."""
        last = len(self.encoder.blocks)
        if self.pool_norm is not None and last in vectors:
            vectors = {**vectors, last: self.pool_norm(vectors[last])}
        return torch.cat([vectors[number].flatten(-2) for number in layers or (last,)], dim=-1)

    def _pool(
        self, tokens: Tensor, visible: Optional[Tensor], grid: tuple[int, int], counted: Optional[Tensor]
    ) -> Tensor:
        """(B, [1 +] V, D) -> (B, G, D)."""
        cls_token = None if self.encoder.cls_token is None else tokens[:, 0]
        patches = self._patch_tokens(tokens)
        counted = None if counted is None else counted[:, None]  # (B, 1, M)
        if self.attention_pool is not None:
            columns = None if counted is None else counted.expand(-1, grid[0], -1).flatten(1)  # (B, R * M)
            return self.attention_pool(patches, columns)
        if visible is None:
            patches = patches.unflatten(1, grid)  # (B, R, M, D)
        elif by_row(self.pool):
            patches, counted = to_grid(patches, visible, grid)
        else:
            patches = patches[:, None]  # (B, 1, V, D): in no rows
        return pool_clips(self.pool, cls_token, patches, counted)

    def _encode(
        self,
        waveform: Tensor,
        layers: Sequence[int] = (),
        clip_key: Optional[np.ndarray] = None,
        mix_waveform: Optional[Tensor] = None,
        mix_ratio: Optional[Tensor] = None,
    ) -> tuple[dict[int, Tensor], Optional[Tensor]]:
        """All tokens of each layer, (B, V, D), or (B, 1 + V, D) with a CLS token; and `_kept`."""
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
        visible = self._kept(patches, clip_key)
        outputs: list[Tensor] = []
        with torch.no_grad() if self.encoder_is_frozen else nullcontext():
            last = self.encoder(patches, visible, grid, clip_key, outputs if layers else None)
        num_layers = len(self.encoder.blocks)
        tokens = {number: outputs[number - 1] for number in layers if number != num_layers}
        if not layers or num_layers in layers:
            tokens[num_layers] = last
        return tokens, visible

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
