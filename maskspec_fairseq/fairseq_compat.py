"""Workarounds for the fairseq releases that we support, and a clear error where none imports."""

import importlib
import os
from typing import Optional


def require_fairseq() -> None:
    """Import fairseq.

    Raises:
        ImportError: there is none, or one that fails on this Python, with the extra that brings another.
    """
    try:
        importlib.import_module("fairseq")
    except Exception as error:  # stock fairseq fails with ValueError on Python 3.11
        raise ImportError(
            f"expected a fairseq that imports, found {type(error).__name__}: {error}; "
            "`pip install 'maskspec-fairseq[fairseq]'` (or `pip install -e '.[fairseq]'` in a checkout) installs the "
            "one that this Python can use: fairseq 0.12.2 below Python 3.11, ve-fairseq 0.12.3 from 3.11 on"
        ) from error


def show_full_tracebacks() -> None:
    """Let the errors of a run be read on fairseq 0.12.2 with Python 3.10.

    Its hydra 1.0 shortens tracebacks by a call that Python 3.10 no longer has, and prints the failure of that call
    instead of the error. Whole tracebacks do not need it.
    """
    import hydra

    if hydra.__version__.startswith("1.0."):
        os.environ.setdefault("HYDRA_FULL_ERROR", "1")


def allow_checkpoint_broadcast() -> None:
    """Let a run on several GPUs resume with torch 2.6 or newer.

    fairseq's first rank reads the checkpoint and broadcasts it, config nodes and all, and the other ranks unpickle it
    with `torch.load`, which from 2.6 on takes no types but those that it is told of.
    """
    import collections
    import typing

    import torch
    from fairseq.distributed.utils import _TensorPlaceholder
    from omegaconf import DictConfig, ListConfig, base, nodes

    if hasattr(torch.serialization, "add_safe_globals"):
        torch.serialization.add_safe_globals(
            [DictConfig, ListConfig, base.ContainerMetadata, base.Metadata, nodes.AnyNode, typing.Any]
            + [collections.defaultdict, dict, list, int, _TensorPlaceholder]
        )


def shorten_log() -> None:
    """Leave out of the log what is elsewhere: fairseq prints the whole config and every layer of the model at start."""
    import logging

    from omegaconf import DictConfig
    from torch.nn import Module

    def shorten(record: logging.LogRecord) -> bool:
        if isinstance(record.msg, (dict, DictConfig)):
            record.msg = "config: .hydra/config.yaml and, with all defaults, `cfg` in the checkpoints"
        return not isinstance(record.msg, Module)

    logging.getLogger("fairseq_cli.train").addFilter(shorten)


# fairseq hands a learning-rate schedule its own config and the optimizer, but not the iterator, so a schedule in epochs
# has no other way to learn how many updates an epoch is made of. A process trains one model on one training subset.
_batches: Optional[int] = None


def set_batches_per_epoch(batches: int) -> None:
    """Say how many batches an epoch of training has on each GPU: the task says it, the learning-rate schedule asks."""
    global _batches
    _batches = batches


def get_batches_per_epoch() -> Optional[int]:
    """None until the training iterator exists."""
    return _batches
