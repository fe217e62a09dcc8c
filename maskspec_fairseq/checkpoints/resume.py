"""See that the checkpoint which a run goes on from is whole.

fairseq writes the first file of a save under another name and moves it in place, then copies it to the others,
`checkpoint_last.pt` among them. A kill during the copy leaves the beginning of a file there.
"""

import logging
import os
import shutil
import zipfile
from pathlib import Path
from typing import List

logger = logging.getLogger(__name__)

CHUNK = 1 << 20


def check_last_checkpoint(save_dir: str) -> None:
    """Check `checkpoint_last.pt` in `save_dir`, where there is one, and finish a copy that was interrupted.

    Raises:
        ValueError: the file is cut off and no other one begins with what is there.
    """
    last = Path(save_dir, "checkpoint_last.pt")
    if not last.is_file() or is_whole(last):
        return
    others = whole_checkpoints(save_dir)
    for other in others:
        if begins_with(other, last):
            logger.warning("%s is the beginning of a copy of %s, which was interrupted; copying it again", last, other)
            scratch = last.with_name(f"{last.name}.{os.getpid()}.tmp")
            shutil.copyfile(other, scratch)
            os.replace(scratch, last)
            return
    cure = "remove it to start anew"
    if others:
        cure = f"the newest whole one is {others[0]}: to go on from there, `cp {others[0]} {last}`"
    raise ValueError(f"{last}: expected a whole checkpoint, found a file that is cut off; {cure}")


def is_whole(path: Path) -> bool:
    """Whether a file that `torch.save` wrote has its end, where the index of its contents is."""
    try:
        with zipfile.ZipFile(path):
            return True
    except zipfile.BadZipFile:
        return False


def whole_checkpoints(save_dir: str) -> List[Path]:
    """The other checkpoints of a run that are whole, the newest first; that of a crash cannot be resumed exactly."""
    paths = [path for path in Path(save_dir).glob("checkpoint*.pt") if path.name != "checkpoint_last.pt"]
    return sorted(filter(is_whole, paths), key=lambda path: path.stat().st_mtime, reverse=True)


def begins_with(path: Path, beginning: Path) -> bool:
    """Whether a file begins with all of what another one holds."""
    with open(path, "rb") as whole, open(beginning, "rb") as part:
        while True:
            expected = part.read(CHUNK)
            if whole.read(len(expected)) != expected:
                return False
            if not expected:
                return True
