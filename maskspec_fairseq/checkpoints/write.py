"""Write checkpoints."""

from pathlib import Path
from typing import Any

import torch

from maskspec_fairseq.atomic_write import PathLike, write_whole


def write_checkpoint(state: dict[str, Any], path: PathLike) -> None:
    """Write a checkpoint; until it is complete, what was at `path` stays there.

    Raises:
        OSError: it cannot be written, for example because the disk is full.
    """

    def save(scratch: Path) -> None:
        with open(scratch, "wb") as stream:
            try:
                torch.save(state, stream)
            except RuntimeError as error:  # torch's writer raises it on top of the OSError that it met
                raise OSError(f"{path}: cannot be written: {error.__context__ or error}") from error

    write_whole(path, save)
