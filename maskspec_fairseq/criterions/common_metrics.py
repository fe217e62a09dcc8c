"""What both criterions log."""

from typing import Any, Dict, List

from fairseq import metrics


def log_common_metrics(logging_outputs: List[Dict[str, Any]]) -> Dict[str, float]:
    """Log the loss per unit of the sample size, the speed, and what was replaced or skipped, if anything was.

    Args:
        logging_outputs: of all batches and data-parallel workers, with the same keys.

    Returns:
        The sum of each of their values.
    """
    total = {key: float(sum(output[key] for output in logging_outputs)) for key in sorted(logging_outputs[0])}
    sample_size = max(total["sample_size"], 1.0)
    metrics.log_scalar("loss", total["loss"] / sample_size, sample_size, round=5)
    metrics.log_speed("clips_per_sec", total["nsentences"], priority=90, round=1)
    for name in ("replaced", "skipped"):
        if total.get(name):
            metrics.log_scalar_sum(name, total[name], round=0)
    return total
