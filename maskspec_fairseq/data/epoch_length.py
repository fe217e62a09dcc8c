"""How many batches an epoch of training has on each GPU: told by the task, asked by the learning-rate schedule.

fairseq hands a schedule its own config and the optimizer, but not the iterator, so a schedule in epochs has no
other way to learn how many updates an epoch is made of. A process trains one model on one training subset.
"""

from typing import Optional

_batches: Optional[int] = None


def set_batches_per_epoch(batches: int) -> None:
    global _batches
    _batches = batches


def get_batches_per_epoch() -> Optional[int]:
    """None until the training iterator exists."""
    return _batches
