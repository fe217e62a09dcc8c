"""Logits of a validation subset, gathered over GPUs, and their scores.

Shapes: B batch, C classes.
"""

from typing import Any, Dict, List

import numpy as np
from torch import Tensor
from torch import distributed as dist

from maskspec_fairseq.metrics import SCORE_NAMES, summarise


class ValidationScores:
    """Collects batches in any order; every clip counts once, however often it was added.

    Args:
        target_is_multilabel: several classes per clip, scored by mAP; otherwise one, scored by accuracy.
    """

    def __init__(self, target_is_multilabel: bool) -> None:
        self.target_is_multilabel = target_is_multilabel
        self.names = SCORE_NAMES[target_is_multilabel]
        self._batches: List[List[np.ndarray]] = []

    def add(self, sample: Dict[str, Any], logits: Tensor) -> None:
        """Add a batch.

        Args:
            sample: see `AudioDataset.collater`; without ids nothing is added.
            logits: (B, C).
        """
        count = len(sample["id"])
        if count:
            target = sample["target"][:count] > 0.5
            self._batches.append(
                [part.cpu().numpy() for part in (sample["id"], logits.float(), target, sample["known"][:count])]
            )

    def compute(self) -> Dict[str, float]:
        """The scores of all clips of all GPUs by name; the next `add` starts anew.

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
        return summarise(logits, target, known, self.target_is_multilabel)[0]
