"""Model `maskspec`: the masked autoencoder, registered with fairseq."""

from dataclasses import dataclass, field
from typing import Any, List

from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model
from omegaconf import II

from maskspec_fairseq.checkpoints.check import MODEL
from maskspec_fairseq.checkpoints.read import model_arguments
from maskspec_fairseq.fields import check_fields
from maskspec_fairseq.modules.decoder import ATTENTIONS, SELF
from maskspec_fairseq.modules.front_ends import FRONT_ENDS
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.modules.pooling import EMBEDDING_POOL, POOLS, check_pool
from maskspec_fairseq.modules.sizes import BASE
from maskspec_fairseq.registered_names import PRETRAINING_MODEL


@dataclass
class MaskSpecConfig(FairseqDataclass):
    """The arguments of `MaskedAutoencoder`, by the same names; the defaults are the paper's base model.

    `embedding_pool` is not one of them: nothing is pooled in pretraining, and who loads the checkpoint reads it there.
    """

    front_end: str = field(default="paper", metadata={"help": "log-mel: " + ", ".join(FRONT_ENDS)})
    sample_rate: int = II("task.sample_rate")
    mel_jitter: bool = field(default=False, metadata={"help": "random mel range in training (released code)"})
    # a number or a list; fairseq's argument parsers take the type for text
    patch_size: Any = field(default=16, metadata={"help": "mel bins and frames of a patch: [16,8], or 16 for squares"})
    mask_ratio: float = field(default=0.75, metadata={"help": "share of patches that is masked, 0.05 to 0.95"})
    decoder_share: float = field(
        default=1.0, metadata={"help": "share of the masked patches that is decoded and scored in training"}
    )
    decoder_attention: str = field(
        default=SELF, metadata={"help": "what masked places attend to: " + ", ".join(ATTENTIONS)}
    )
    encoder_embed_dim: int = field(default=BASE.encoder_embed_dim, metadata={"help": "encoder width"})
    encoder_layers: int = field(default=BASE.encoder_layers, metadata={"help": "encoder blocks"})
    encoder_attention_heads: int = field(
        default=BASE.encoder_attention_heads, metadata={"help": "encoder attention heads"}
    )
    encoder_ffn_embed_dim: int = field(
        default=BASE.encoder_ffn_embed_dim, metadata={"help": "encoder FFN width; the paper's text: 2048"}
    )
    decoder_embed_dim: int = field(default=BASE.decoder_embed_dim, metadata={"help": "decoder width"})
    decoder_layers: int = field(default=BASE.decoder_layers, metadata={"help": "decoder blocks"})
    decoder_attention_heads: int = field(
        default=BASE.decoder_attention_heads, metadata={"help": "decoder attention heads"}
    )
    decoder_ffn_embed_dim: int = field(default=BASE.decoder_ffn_embed_dim, metadata={"help": "decoder FFN width"})
    cls_token: bool = field(default=False, metadata={"help": "prepend a CLS token (released code)"})
    position_grid: List[int] = field(
        default_factory=list, metadata={"help": "rows and columns of learned positions; empty: sinusoidal ones"}
    )
    dropout: float = field(default=0.0, metadata={"help": "dropout in every block"})
    drop_path: float = field(default=0.0, metadata={"help": "stochastic depth of the encoder's last block"})
    norm_pix_loss: bool = field(default=False, metadata={"help": "normalise each target patch (released scripts)"})
    embedding_pool: str = field(
        default=EMBEDDING_POOL, metadata={"help": "of the embeddings of the pretrained encoder: " + ", ".join(POOLS)}
    )


@register_model(PRETRAINING_MODEL, dataclass=MaskSpecConfig)
class MaskSpecModel(MaskedAutoencoder, BaseFairseqModel):
    """See `MaskedAutoencoder`."""

    @classmethod
    def build_model(cls, cfg: MaskSpecConfig, task=None) -> "MaskSpecModel":
        """Build a new model; the task sets its mel statistics.

        Raises:
            ValueError: see `MaskedAutoencoder` and `check_pool`; or an unknown `embedding_pool`.
        """
        check_fields({"embedding_pool": cfg.embedding_pool}, MODEL, "model")
        check_pool(cfg.embedding_pool, cfg.cls_token)
        return cls(**model_arguments(MaskedAutoencoder, cfg))
