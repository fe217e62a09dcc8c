"""Write checkpoints."""

import contextlib
import os
from typing import Any, Dict

import torch


def write_checkpoint(state: Dict[str, Any], path: str) -> None:
    """Write a checkpoint; until it is whole, what was at `path` stays there.

    Raises:
        OSError: it cannot be written, on a full disk say.
    """
    scratch = f"{path}.{os.getpid()}.tmp"
    try:
        with open(scratch, "wb") as stream:
            try:
                torch.save(state, stream)
            except RuntimeError as error:  # torch's writer on top of the OSError that it met
                raise OSError(f"{path}: cannot be written: {error.__context__ or error}") from error
        os.replace(scratch, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(scratch)
