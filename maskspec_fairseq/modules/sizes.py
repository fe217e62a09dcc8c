"""The sizes of the model. Plain values, no torch.

Source: MaskSpec, arXiv:2204.12768, sections 2.2 (encoders) and 2.3 (the same decoder for all). The paper's text has a
feed-forward width of 2048 for the base encoder, but the 86 M parameters of its table 1 and its released code are 3072.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSize:
    """Arguments of `MaskedAutoencoder`, by the same names; those of the encoder are `SpectrogramClassifier`'s, too."""

    encoder_embed_dim: int
    encoder_attention_heads: int
    encoder_ffn_embed_dim: int
    encoder_layers: int = 12
    decoder_embed_dim: int = 512
    decoder_layers: int = 8
    decoder_attention_heads: int = 16
    decoder_ffn_embed_dim: int = 2048


TINY = ModelSize(encoder_embed_dim=192, encoder_attention_heads=3, encoder_ffn_embed_dim=768)
SMALL = ModelSize(encoder_embed_dim=384, encoder_attention_heads=6, encoder_ffn_embed_dim=1536)
BASE = ModelSize(encoder_embed_dim=768, encoder_attention_heads=12, encoder_ffn_embed_dim=3072)

SIZES: dict[str, ModelSize] = {"tiny": TINY, "small": SMALL, "base": BASE}
