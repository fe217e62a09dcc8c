"""Model `maskspec_classifier`: the encoder with a head, registered with fairseq."""

from dataclasses import dataclass, field
from typing import Any, List, Sequence

from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model
from omegaconf import II
from torch import nn

from maskspec_fairseq.checkpoints.check import MODEL
from maskspec_fairseq.checkpoints.read import model_arguments
from maskspec_fairseq.fields import check_fields
from maskspec_fairseq.modules.classifier import SpectrogramClassifier
from maskspec_fairseq.modules.frame_head import HEAD_KINDS
from maskspec_fairseq.modules.freezing import check_freezing, freeze
from maskspec_fairseq.modules.front_ends import FRONT_ENDS
from maskspec_fairseq.modules.pooling import ATTENTION, POOLS
from maskspec_fairseq.modules.sizes import BASE
from maskspec_fairseq.registered_names import FINETUNING_MODEL


@dataclass
class MaskSpecClassifierConfig(FairseqDataclass):
    """The arguments of `SpectrogramClassifier`, by the same names, and the source of its weights and labels."""

    pretrained: str = field(
        default="",
        metadata={
            "help": "checkpoint or exported folder to start from, or the name of weights that the package has; "
            "empty for random weights"
        },
    )
    front_end: str = field(default="paper", metadata={"help": "log-mel: " + ", ".join(FRONT_ENDS)})
    sample_rate: int = II("task.sample_rate")
    mel_jitter: bool = field(default=False, metadata={"help": "random mel range in training (released code)"})
    # a number or a list; fairseq's argument parsers take the type for text
    patch_size: Any = field(default=16, metadata={"help": "mel bins and frames of a patch: [16,8], or 16 for squares"})
    encoder_embed_dim: int = field(default=BASE.encoder_embed_dim, metadata={"help": "encoder width"})
    encoder_layers: int = field(default=BASE.encoder_layers, metadata={"help": "encoder blocks"})
    encoder_attention_heads: int = field(
        default=BASE.encoder_attention_heads, metadata={"help": "encoder attention heads"}
    )
    encoder_ffn_embed_dim: int = field(default=BASE.encoder_ffn_embed_dim, metadata={"help": "encoder FFN width"})
    cls_token: bool = field(default=False, metadata={"help": "prepend a CLS token (released code)"})
    position_grid: List[int] = field(
        default_factory=list, metadata={"help": "rows and columns of learned positions; empty: sinusoidal ones"}
    )
    pool: str = field(default="mean", metadata={"help": "of the patches: " + ", ".join((*POOLS, ATTENTION))})
    norm_after_pool: bool = field(default=False, metadata={"help": "pool, then a new norm (released code)"})
    dropout: float = field(default=0.0, metadata={"help": "dropout in every block"})
    drop_path: float = field(default=0.0, metadata={"help": "stochastic depth of the last block"})
    spec_augment_bins: int = field(default=0, metadata={"help": "widest band that SpecAugment hides, mel bins"})
    spec_augment_frames: int = field(default=0, metadata={"help": "longest stretch that SpecAugment hides, frames"})
    patchout: float = field(default=0.0, metadata={"help": "share of the patches left out in training"})
    head: str = field(
        default="linear", metadata={"help": "per clip or per column of patches: " + ", ".join(HEAD_KINDS)}
    )
    freeze_encoder: bool = field(default=False, metadata={"help": "the encoder is not trained"})
    freeze_updates: int = field(default=0, metadata={"help": "updates before the encoder is trained"})
    trainable_layers: int = field(
        default=0, metadata={"help": "blocks of the encoder that are trained, the last ones; 0: the whole encoder"}
    )
    # The task sets these from the data, and checkpoints carry them.
    num_classes: int = field(default=0, metadata={"help": "set by the task"})
    label_keys: List[str] = field(default_factory=list, metadata={"help": "set by the task"})
    label_names: List[str] = field(default_factory=list, metadata={"help": "set by the task"})


@register_model(FINETUNING_MODEL, dataclass=MaskSpecClassifierConfig)
class MaskSpecClassifierModel(SpectrogramClassifier, BaseFairseqModel):
    """See `SpectrogramClassifier`; parts of the encoder may be frozen, see `freezing.py`.

    Attributes:
        freeze_updates: how many updates all of the encoder is frozen for, by fairseq's count; `freeze_finetune_updates`
            of its wav2vec 2.0 and HuBERT.
    """

    freeze_updates = 0
    _frozen: Sequence[nn.Module] = ()  # in eval mode in training

    @classmethod
    def build_model(cls, cfg: MaskSpecClassifierConfig, task=None) -> "MaskSpecClassifierModel":
        """Build a new model; the task sets pretrained weights and statistics.

        Raises:
            ValueError: see `SpectrogramClassifier` and `check_freezing`.
        """
        arguments = model_arguments(SpectrogramClassifier, cfg)
        freezing = {name: cfg[name] for name in ("freeze_encoder", "freeze_updates", "trainable_layers")}
        check_fields(freezing, MODEL, "model")
        check_freezing(**freezing, num_layers=cfg.encoder_layers)
        model = cls(**arguments)
        model._frozen = freeze(model.encoder, cfg.freeze_encoder, cfg.trainable_layers)
        model.freeze_updates = cfg.freeze_updates
        model.encoder_is_frozen = cfg.freeze_encoder or cfg.freeze_updates > 0
        for name, parameter in model.named_parameters():
            # fairseq's half-precision optimizers copy this attribute, and no other, to the parameters that they make.
            parameter.param_group = f"{layer_of(name, cfg.encoder_layers)}:{name}"  # type: ignore[attr-defined]
        return model.train()

    def train(self, mode: bool = True) -> "MaskSpecClassifierModel":
        super().train(mode)
        for part in (self.encoder,) if self.encoder_is_frozen else self._frozen:
            part.eval()
        return self

    def set_num_updates(self, num_updates: int) -> None:
        """fairseq calls it before each update, with the number of updates that have been made."""
        super().set_num_updates(num_updates)
        if self.freeze_updates:
            self.encoder_is_frozen = num_updates < self.freeze_updates
            self.train(self.training)


def layer_of(name: str, num_layers: int) -> int:
    """Depth of a parameter: 0 in the embedding, 1 to `num_layers` in the blocks, `num_layers` + 1 after them."""
    if name.startswith(("encoder.patch_embed.", "encoder.cls_token", "encoder.learned_positions")):
        return 0
    if name.startswith("encoder.blocks."):
        return int(name.split(".")[2]) + 1
    return num_layers + 1
