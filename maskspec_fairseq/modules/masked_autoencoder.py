"""The masked autoencoder: front end, masking, encoder and decoder.

Source: MaskSpec, arXiv:2204.12768, sections 2.2 to 2.4 and figure 1.

Shapes: B batch, T samples, F mel bins, S frames, L patches, N masked, K <= N decoded, V visible, P values per patch,
D encoder width, E decoder width.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Optional

import numpy as np
import torch
from torch import Tensor, nn

from maskspec_fairseq.clip_rng import check_clip_keys
from maskspec_fairseq.modules.decoder import SELF, SpectrogramDecoder
from maskspec_fairseq.modules.encoder import SpectrogramEncoder
from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.modules.masking import (
    gather_tokens,
    num_decoded,
    num_masked,
    random_decoding,
    random_masking,
    split_by_mask,
)
from maskspec_fairseq.modules.patches import PatchSize, patch_shape, patchify
from maskspec_fairseq.modules.sizes import BASE, SMALL, TINY, ModelSize

TARGET_EPS = 1e-6


class MaskedAutoencoder(nn.Module):
    """Front end, masking, encoder and decoder: all of MaskSpec except the loss, `losses.masked_spectrogram_loss`.

    The defaults are the paper's base model; `maskspec_tiny`, `maskspec_small` and `maskspec_base` name the sizes.

    Args:
        front_end, sample_rate, mel_jitter: see `LogMel`.
        patch_size: mel bins and frames of a patch, see `PatchSize`.
        mask_ratio: share of the patches that is hidden, alpha of algorithm 1.
        decoder_share: share of the masked patches that is decoded and scored in training, drawn for every clip and
            epoch; the decoder does not see the others. 1, the paper's, is all of them, as always in eval mode.
        decoder_attention: what the masked places attend to, see `SpectrogramDecoder`.
        encoder_*, the other decoder_*, dropout, drop_path: see `TokenStack`; drop_path is the encoder's alone.
        cls_token: prepend a CLS token (released code; the paper has none).
        position_grid: of the encoder's learned positions, see `SpectrogramEncoder`; the decoder's are sinusoidal.
        norm_pix_loss: normalise each target patch by its own mean and deviation (released scripts; not in the paper).

    Raises:
        ValueError: an argument outside its range, or a front end that the sample rate or the patch size does not fit.
        ImportError: torchaudio does not import, see `LogMel`.

    Example:
        >>> import numpy as np, torch
        >>> from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
        >>> model = MaskedAutoencoder(encoder_layers=1, decoder_layers=1)
        >>> waveform = torch.randn(2, 32000)  # two clips of 1 s: 8 x 6 patches
        >>> output = model(waveform, clip_key=np.array([[1, 1, 0], [1, 1, 1]]))  # (seed, epoch, clip)
        >>> output["prediction"].shape, output["target"].shape, output["mask"].shape
        (torch.Size([2, 36, 256]), torch.Size([2, 36, 256]), torch.Size([2, 48]))
    """

    def __init__(
        self,
        front_end: str = "paper",
        sample_rate: int = 32000,
        mel_jitter: bool = False,
        patch_size: PatchSize = 16,
        mask_ratio: float = 0.75,
        decoder_share: float = 1.0,
        decoder_attention: str = SELF,
        encoder_embed_dim: int = BASE.encoder_embed_dim,
        encoder_layers: int = BASE.encoder_layers,
        encoder_attention_heads: int = BASE.encoder_attention_heads,
        encoder_ffn_embed_dim: int = BASE.encoder_ffn_embed_dim,
        decoder_embed_dim: int = BASE.decoder_embed_dim,
        decoder_layers: int = BASE.decoder_layers,
        decoder_attention_heads: int = BASE.decoder_attention_heads,
        decoder_ffn_embed_dim: int = BASE.decoder_ffn_embed_dim,
        cls_token: bool = False,
        position_grid: Sequence[int] = (),
        dropout: float = 0.0,
        drop_path: float = 0.0,
        norm_pix_loss: bool = False,
    ) -> None:
        super().__init__()
        # refuse values outside their range before any training step
        num_decoded(num_masked(10**6, mask_ratio), decoder_share)
        self.front_end = LogMel(front_end, sample_rate, patch_size, mel_jitter)
        self.patch_size = patch_shape(patch_size)
        self.mask_ratio = mask_ratio
        self.decoder_share = decoder_share
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
            decoder_attention,
        )

    def forward(
        self,
        waveform: Tensor,
        num_samples: Optional[Tensor] = None,
        clip_key: Optional[np.ndarray] = None,
        mask: Optional[Tensor] = None,
    ) -> dict[str, Tensor]:
        """Hide patches of the clips and predict them.

        Args:
            waveform: (B, T), floats or float32 bits (see `float32_bits.py`), padded to a common length.
            num_samples: (B,) samples before the padding; None if nothing is padded.
            clip_key: (B, 3) integers (seed, epoch, clip) on the host, from which the masks, and what is decoded,
                are drawn.
            mask: bool (B, L) on the CPU, to choose the mask instead of drawing it.

        Returns:
            prediction: (B, K, P), the decoder's output for the masked patches, or for those that were drawn.
            target: float32 (B, K, P), their true values.
            scored: bool (B, K), False where such a patch begins (the centre of its first frame) in the padding.
            mask: bool (B, L) on the CPU, True where masked.

        Raises:
            ValueError: neither a mask nor keys, no keys to draw the decoder's share, or a waveform that the front end
                refuses (see `LogMel.forward`).
        """
        spectrogram = self.front_end(waveform, clip_key)  # (B, F, S)
        patches = patchify(spectrogram, self.patch_size)  # (B, L, P)
        grid = self.front_end.grid(waveform.shape[1])
        if mask is None:
            if clip_key is None:
                raise ValueError("expected either a mask or the clips' keys (seed, epoch, clip), found neither")
            mask = random_masking(clip_key, patches.shape[1], self.mask_ratio)
        visible, masked = split_by_mask(mask)
        if self.training and self.decoder_share < 1:
            masked = random_decoding(check_clip_keys(clip_key, "decoder_share"), masked, self.decoder_share)  # (B, K)
        visible, masked = (index.to(patches.device, non_blocking=True) for index in (visible, masked))
        encoded = self.encoder(patches, visible, grid, clip_key)  # (B, [1 +] V, D)
        return {
            "prediction": self.decoder(encoded, visible, masked, grid),
            "target": self.normalise_target(gather_tokens(patches, masked)),
            "scored": self._not_padding(masked, grid[1], num_samples),
            "mask": mask,
        }

    def normalise_target(self, patches: Tensor) -> Tensor:
        """(B, K, P) -> (B, K, P): with `norm_pix_loss`, each patch is normalised by its own mean and deviation."""
        if not self.norm_pix_loss:
            return patches
        variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
        return (patches - mean) / (variance + TARGET_EPS).sqrt()

    def denormalise_prediction(self, prediction: Tensor, patches: Tensor) -> Tensor:
        """Undo `norm_pix_loss` with the mean and deviation of the true patches; both (B, K, P)."""
        if not self.norm_pix_loss:
            return prediction
        variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
        return prediction * (variance + TARGET_EPS).sqrt() + mean

    def _not_padding(self, masked: Tensor, columns: int, num_samples: Optional[Tensor]) -> Tensor:
        """bool (B, K): the patch's first frame is centred on a sample of the clip."""
        if num_samples is None:
            return torch.ones_like(masked, dtype=torch.bool)
        first_sample = (masked % columns) * (self.patch_size[1] * self.front_end.hop_length)
        return first_sample < num_samples[:, None]


def maskspec_tiny(**kwargs: Any) -> MaskedAutoencoder:
    """MaskSpec-Tiny: an encoder of 5.4 M parameters (table 1: 5.6 M with AudioSet's head) and the paper's decoder.

    Args:
        **kwargs: other arguments of `MaskedAutoencoder`, such as front_end, sample_rate, mask_ratio.

    Example:
        >>> import maskspec_fairseq
        >>> model = maskspec_fairseq.maskspec_tiny(front_end="narrowband", sample_rate=8000)
        >>> sum(weight.numel() for weight in model.encoder.parameters())
        5388096
    """
    return _of_size(TINY, kwargs)


def maskspec_small(**kwargs: Any) -> MaskedAutoencoder:
    """MaskSpec-Small: an encoder of 21.4 M parameters (table 1: 22 M) and the paper's decoder; see `maskspec_tiny`."""
    return _of_size(SMALL, kwargs)


def maskspec_base(**kwargs: Any) -> MaskedAutoencoder:
    """MaskSpec: an encoder of 85.3 M parameters (table 1: 86 M) and the paper's decoder; see `maskspec_tiny`."""
    return _of_size(BASE, kwargs)


def _of_size(size: ModelSize, kwargs: dict[str, Any]) -> MaskedAutoencoder:
    return MaskedAutoencoder(**{**asdict(size), **kwargs})
