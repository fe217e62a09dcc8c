"""Criterion `maskspec_prediction`: the squared error of MaskSpec, arXiv:2204.12768, equation 1, over masked patches."""

from fairseq import metrics
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass

from maskspec_fairseq.criterions.common_metrics import log_common_metrics
from maskspec_fairseq.criterions.non_finite import drop_if_not_finite
from maskspec_fairseq.modules.losses import masked_spectrogram_loss
from maskspec_fairseq.registered_names import PREDICTION_CRITERION


@register_criterion(PREDICTION_CRITERION, dataclass=FairseqDataclass)
class MaskSpecPredictionCriterion(FairseqCriterion):
    """The summed squared error, with the number of values scored as the sample size.

    fairseq divides the summed gradient by the summed sample size, so that 1 x 8 and 2 x 4 clips give the same update.
    Logged: `loss` per value, and `baseline_loss`, the loss per value of always predicting the mean of the values
    scored; a model that learns goes below it. With `model.decoder_share` below 1, both are over the drawn share of the
    masked patches in training, and over all of them in validation.
    """

    def forward(self, model, sample, reduce=True):
        """Return the summed loss, the number of values scored, and the logging output."""
        output = model(**sample["net_input"])
        loss, sample_size = masked_spectrogram_loss(output["prediction"], output["target"], output["scored"])
        scored_target = output["target"] * output["scored"][:, :, None]
        logging_output = {
            "loss": loss.detach(),
            "target_sum": scored_target.sum(),
            "target_squares": scored_target.square().sum(),
            "masked": int(output["mask"].sum()),
            "patches": output["mask"].numel(),
            "replaced": sample["replaced"],
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "sample_size": sample_size,
        }
        if not self.training:
            return loss, sample_size, logging_output
        return drop_if_not_finite(model, loss, sample_size, logging_output)

    @staticmethod
    def reduce_metrics(logging_outputs) -> None:
        """Aggregate the logging outputs of all data-parallel workers."""
        total = log_common_metrics(logging_outputs)
        values, patches = max(total["sample_size"], 1.0), max(total["patches"], 1.0)
        metrics.log_scalar("_target", total["target_sum"] / values, values)
        metrics.log_scalar("_target_squares", total["target_squares"] / values, values)
        metrics.log_derived(
            "baseline_loss", lambda meters: round(meters["_target_squares"].avg - meters["_target"].avg ** 2, 5)
        )
        metrics.log_scalar("masked_share", total["masked"] / patches, patches, round=4)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True
