"""Criterion `maskspec_classification`: cross-entropy for one class per clip, binary cross-entropy for several.

A head of frames is trained by the binary cross-entropy of each column of patches, where it is known.
"""

from dataclasses import dataclass, field

from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from omegaconf import II

from maskspec_fairseq.criterions.common_metrics import log_common_metrics
from maskspec_fairseq.criterions.non_finite import drop_if_not_finite
from maskspec_fairseq.modules.frame_head import pool_frames
from maskspec_fairseq.modules.losses import binary_cross_entropy, smooth, soft_cross_entropy
from maskspec_fairseq.registered_names import CLASSIFICATION_CRITERION


@dataclass
class MaskSpecClassificationConfig(FairseqDataclass):
    target_is_multilabel: bool = II("task.target_is_multilabel")
    label_smoothing: float = field(
        default=0.0, metadata={"help": "share of the target that is spread over all classes"}
    )
    normalise_by: str = field(
        default="known",
        metadata={"help": "known or all (released OpenMIC code): the labels whose number divides the multi-label loss"},
    )


@register_criterion(CLASSIFICATION_CRITERION, dataclass=MaskSpecClassificationConfig)
class MaskSpecClassificationCriterion(FairseqCriterion):
    """The summed loss, with the number of clips (one class per clip) or of labels (several) as the sample size.

    Raises:
        ValueError: unknown `normalise_by`, or `label_smoothing` outside [0, 1).
    """

    def __init__(self, task, target_is_multilabel: bool, label_smoothing: float, normalise_by: str) -> None:
        super().__init__(task)
        if normalise_by not in ("known", "all"):
            raise ValueError(f"expected criterion.normalise_by out of ('known', 'all'), found {normalise_by!r}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"expected criterion.label_smoothing from 0 to below 1, found {label_smoothing}")
        self.target_is_multilabel = target_is_multilabel
        self.label_smoothing = label_smoothing
        self.normalise_by = normalise_by

    def forward(self, model, sample, reduce=True):
        """Return the summed loss, the sample size that fairseq divides its gradient by, and the logging output.

        In validation the logging output also has `logits`, float32 (B, C), which the task removes.
        """
        logits = model(**sample["net_input"]).float()  # (B, C), or (B, M, C) of a head of frames
        prefix = "frame_" if logits.dim() == 3 else ""
        target, known = sample[f"{prefix}target"].float(), sample[f"{prefix}known"]
        if self.training:
            target = smooth(target, self.label_smoothing)
        if self.target_is_multilabel:
            loss, sample_size = binary_cross_entropy(logits, target, known)
            if self.normalise_by == "all":
                sample_size = sample["nsentences"] * known[0].numel()
        else:
            loss, sample_size = soft_cross_entropy(logits, target, known)
        logging_output = {
            "loss": loss.detach(),
            "replaced": sample["replaced"],
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "sample_size": sample_size,
        }
        if not self.training:
            of_clips = pool_frames(logits) if logits.dim() == 3 else logits
            return loss, sample_size, {**logging_output, "logits": of_clips.detach()}
        return drop_if_not_finite(model, loss, sample_size, logging_output)

    @staticmethod
    def reduce_metrics(logging_outputs) -> None:
        """Aggregate the logging outputs of all data-parallel workers."""
        log_common_metrics(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True
