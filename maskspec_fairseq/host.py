"""fairseq, the host: what to say where there is none that works."""

import importlib


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
