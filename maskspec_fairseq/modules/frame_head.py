"""Heads of a finetuned model: one prediction per clip, or one per column of patches (sound events in time).

Shapes: B batch, M columns, C classes.
"""

from torch import Tensor

HEAD_KINDS = ("linear", "frames")


def check_head(head: str, pool: str, patchout: float) -> None:
    """Check that a head can be trained in this way.

    Raises:
        ValueError: unknown; or a head on columns of patches where pooling or patchout leave none.
    """
    if head not in HEAD_KINDS:
        raise ValueError(f"expected model.head out of {', '.join(HEAD_KINDS)}, found {head!r}; choose one of them")
    if head == "frames" and pool not in ("mean", "frequency"):
        raise ValueError(
            f"expected model.pool=mean or frequency, how a column of patches is pooled, for model.head=frames, found "
            f"{pool}; choose one of them"
        )
    if head == "frames" and patchout:
        raise ValueError(
            f"expected whole columns of patches for model.head=frames, found model.patchout={patchout:g}; set it to 0"
        )


def pool_frames(logits: Tensor) -> Tensor:
    """The logits of clips from those of their columns: (B, M, C) -> (B, C).

    It is the maximum over time: a class is in the clip if it is in one of the columns, the standard assumption of
    learning from several instances. Source: arXiv:1810.09050, section 2, which compares it with others.
    """
    return logits.amax(dim=1)
