"""Check the checkpoints that a run starts or resumes from, and repair an interrupted copy.

fairseq writes the first file of a save under another name and moves it in place, then copies it to the others,
`checkpoint_last.pt` among them. A kill during the copy leaves the beginning of a file there.
"""

import functools
import logging
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from maskspec_fairseq.atomic_write import write_whole
from maskspec_fairseq.checkpoints.average import BEST, EPOCH, TRAINING_FIELDS, UPDATE
from maskspec_fairseq.checkpoints.compare import differing_fields
from maskspec_fairseq.checkpoints.read import check_model, read_checkpoint
from maskspec_fairseq.registered_names import MODELS

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20


def read_last_config(save_dir: str) -> Optional[dict[str, Any]]:
    """The config in `checkpoint_last.pt`, None if there is no such file; a copy that was interrupted is finished.

    Raises:
        ValueError: the file is cut off, and no other checkpoint of the run begins with what it holds; or it is not a
            checkpoint of a maskspec run, or holds more than data.
        OSError: a checkpoint cannot be read, or the copy cannot be written.
    """
    last = Path(save_dir, "checkpoint_last.pt")
    if not last.is_file():
        return None
    if is_cut_off(last):
        finish_copy(save_dir, last)
    return read_checkpoint(str(last), MODELS)["cfg"]


def finish_copy(save_dir: str, last: Path) -> None:
    candidates = own_checkpoints(save_dir)
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


def is_cut_off(path: Path) -> bool:
    """Whether a file is the beginning of what `torch.save` writes, without its end, the index of its contents."""
    with open(path, "rb") as stream:
        beginning = stream.read(2)
    try:
        with zipfile.ZipFile(path):
            return False
    except zipfile.BadZipFile:
        return beginning in (b"", b"P", b"PK")


def own_checkpoints(save_dir: str) -> list[Path]:
    """The other checkpoints that the run itself has written there, as far as they are complete, newest first.

    A file that was put there, an average for example, has another name, or another epoch or update in it than its name
    says.
    """
    found = []
    for path in Path(save_dir).glob("checkpoint*.pt"):
        of_epoch, of_update = EPOCH.name.fullmatch(path.name), UPDATE.name.fullmatch(path.name)
        is_best = path.name == "checkpoint_best.pt" or BEST.name.fullmatch(path.name)
        if not (of_epoch or of_update or is_best) or is_cut_off(path):
            continue
        try:
            epoch, updates = position_of(read_checkpoint(str(path), MODELS))
        except (ValueError, KeyError):
            continue
        if is_best or (of_epoch and int(of_epoch[1]) == epoch) or (of_update and int(of_update[1]) == updates):
            found.append((updates, path))
    return [path for _, path in sorted(found, reverse=True)]


def position_of(state: Mapping[str, Any]) -> tuple[int, int]:
    """The epoch that a checkpoint was saved in, or at the end of, and the number of updates before it.

    Raises:
        KeyError: fairseq's trainer has not written it.
    """
    iterator = state["extra_state"]["train_iterator"]
    at_end = iterator["iterations_in_epoch"] == 0  # fairseq then names the epoch to begin with
    return iterator["epoch"] - at_end, state["optimizer_history"][-1]["num_updates"]


def check_start(path: str, model: Mapping[str, Any]) -> None:
    """Check a checkpoint that is named to start from, before fairseq reads it.

    Args:
        model: the config of the model that is trained.

    Raises:
        ValueError: there is no such file, it is not a checkpoint of such a model, its weights are not those that its
            config describes, or it holds more than data.
        OSError: it cannot be read.
    """
    state = read_checkpoint(path, (model["_name"],))
    found = state["cfg"]["model"]
    names = {*found} & {*model} - {*TRAINING_FIELDS, "num_classes", "label_names"}
    differing = differing_fields(model, found, names, "model.")
    if differing:
        raise ValueError(
            f"{path}: expected a checkpoint of the model that is trained, found another one ({'; '.join(differing)}); "
            "give these fields its values, or start from its encoder alone with model.pretrained, in finetuning"
        )
    check_model(state, path)


def begins_with(path: Path, beginning: Path) -> bool:
    """Whether a file begins with everything that another one holds."""
    with open(path, "rb") as file, open(beginning, "rb") as part:
        while True:
            expected = part.read(CHUNK_BYTES)
            if file.read(len(expected)) != expected:
                return False
            if not expected:
                return True
