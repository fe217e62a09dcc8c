"""Check that the checkpoint a run resumes from is complete, and repair an interrupted copy.

fairseq writes the first file of a save under another name and moves it in place, then copies it to the others,
`checkpoint_last.pt` among them. A kill during the copy leaves the beginning of a file there.
"""

import functools
import logging
import shutil
import zipfile
from pathlib import Path

from maskspec_fairseq.atomic_write import write_whole

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20


def check_last_checkpoint(save_dir: str) -> None:
    """Check `checkpoint_last.pt` in `save_dir`, if there is one, and finish a copy that was interrupted.

    Raises:
        ValueError: the file is cut off, and no other checkpoint begins with what it holds.
        OSError: a checkpoint cannot be read, or the copy cannot be written.
    """
    last = Path(save_dir, "checkpoint_last.pt")
    if not last.is_file() or is_complete(last):
        return
    candidates = complete_checkpoints(save_dir)
    for candidate in candidates:
        if begins_with(candidate, last):
            logger.warning(
                "%s is the beginning of a copy of %s, which was interrupted; copying it again", last, candidate
            )
            write_whole(last, functools.partial(shutil.copyfile, candidate))
            return
    cure = "remove it to start from scratch"
    if candidates:
        cure = f"the newest complete one is {candidates[0]}: to resume from there, `cp {candidates[0]} {last}`"
    raise ValueError(f"{last}: expected a complete checkpoint, found a file that is cut off; {cure}")


def is_complete(path: Path) -> bool:
    """Whether a file that `torch.save` wrote has its end, which holds the index of its contents."""
    try:
        with zipfile.ZipFile(path):
            return True
    except zipfile.BadZipFile:
        return False


def complete_checkpoints(save_dir: str) -> list[Path]:
    """The other checkpoints of a run that are complete, newest first."""
    paths = [path for path in Path(save_dir).glob("checkpoint*.pt") if path.name != "checkpoint_last.pt"]
    return sorted(filter(is_complete, paths), key=lambda path: path.stat().st_mtime, reverse=True)


def begins_with(path: Path, beginning: Path) -> bool:
    """Whether a file begins with everything that another one holds."""
    with open(path, "rb") as file, open(beginning, "rb") as part:
        while True:
            expected = part.read(CHUNK_BYTES)
            if file.read(len(expected)) != expected:
                return False
            if not expected:
                return True
