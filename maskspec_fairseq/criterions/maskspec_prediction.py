"""Criterion `maskspec_prediction`: equation 1, summed, with the number of values scored as the sample size."""

from fairseq import metrics
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass

from maskspec_fairseq.criterions.non_finite import drop_if_not_finite
from maskspec_fairseq.modules.losses import masked_spectrogram_loss
from maskspec_fairseq.registered_names import PREDICTION_CRITERION


@register_criterion(PREDICTION_CRITERION, dataclass=FairseqDataclass)
class MaskSpecPredictionCriterion(FairseqCriterion):
    """Squared error over masked patches.

    fairseq divides the summed gradient by the summed `sample_size`, so that 1 x 8 and 2 x 4 clips give the same
    update. Logged beside the loss a value: `baseline_loss`, what a predictor would get that always answers the mean of
    the values that it is asked for, under which a model that learns must fall.
    """

    def forward(self, model, sample, reduce=True):
        """Return the summed loss, the number of values scored, and what is logged."""
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
        total = {
            key: float(sum(output.get(key, 0) for output in logging_outputs)) for key in sorted(logging_outputs[0])
        }
        values, patches = max(total["sample_size"], 1.0), max(total["patches"], 1.0)
        metrics.log_scalar("loss", total["loss"] / values, values, round=5)
        metrics.log_scalar("_target", total["target_sum"] / values, values)
        metrics.log_scalar("_target_squares", total["target_squares"] / values, values)
        metrics.log_derived(
            "baseline_loss", lambda meters: round(meters["_target_squares"].avg - meters["_target"].avg ** 2, 5)
        )
        metrics.log_scalar("masked_share", total["masked"] / patches, patches, round=4)
        metrics.log_speed("clips_per_sec", total["nsentences"], priority=90, round=1)
        for name in ("replaced", "skipped"):
            if total.get(name):
                metrics.log_scalar_sum(name, total[name], round=0)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True
