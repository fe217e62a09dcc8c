"""Logits of a validation subset, gathered over GPUs, and the scores that they give."""

from typing import Any, Dict, List

import numpy as np
from torch import Tensor
from torch import distributed as dist

from maskspec_fairseq.metrics import SCORE_NAMES, summarise


class ValidationScores:
    """Collects batches in any order; every clip counts once.

    Args:
        target_is_multilabel: whether clips have several classes, scored by mAP, or one, scored by accuracy.
    """

    def __init__(self, target_is_multilabel: bool) -> None:
        self.target_is_multilabel = target_is_multilabel
        self.names = SCORE_NAMES[target_is_multilabel]
        self._batches: List[List[np.ndarray]] = []

    def add(self, sample: Dict[str, Any], logits: Tensor) -> None:
        """Keep a batch: the logits (B, C) of a sample. A sample without clips (ids) is nothing."""
        count = len(sample["id"])
        if count:
            target = sample["target"][:count] > 0.5
            self._batches.append(
                [part.cpu().numpy() for part in (sample["id"], logits.float(), target, sample["known"][:count])]
            )

    def compute(self) -> Dict[str, float]:
        """Scores of all clips of all GPUs; forgets them.

        Raises:
            ValueError: NaN or infinite logits, or nothing to score.
        """
        batches, self._batches = self._batches, []
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            gathered: List[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(gathered, batches)
            batches = [batch for share in gathered for batch in share]
        ids, logits, target, known = (np.concatenate(parts) for parts in zip(*batches))
        _, first = np.unique(ids, return_index=True)  # in the order of the manifest
        logits, target, known = logits[first], target[first], known[first]
        return summarise(logits, target, known, self.target_is_multilabel)
