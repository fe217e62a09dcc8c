"""Average the weights of several checkpoints, and choose which checkpoints of a run to average."""

import os
import re
from collections.abc import Sequence
from re import Pattern
from typing import Any, NamedTuple, Optional

import torch
from torch import Tensor

from maskspec_fairseq.checkpoints.check import STATISTICS, listed
from maskspec_fairseq.checkpoints.compare import differing_fields
from maskspec_fairseq.checkpoints.read import read_checkpoint
from maskspec_fairseq.fields import FLAG, check_fields
from maskspec_fairseq.registered_names import MODELS

# How a model is trained, not what it computes: checkpoints may differ in these.
TRAINING_FIELDS = (
    "pretrained", "mel_jitter", "mask_ratio", "decoder_share", "dropout", "drop_path", "spec_augment_bins",
    "spec_augment_frames", "patchout", "embedding_pool", "freeze_encoder", "freeze_updates", "trainable_layers",
)  # fmt: skip


class Kind(NamedTuple):
    """A kind of checkpoint, by the pattern of its file name.

    Attributes:
        name: the pattern, whose group is the number that orders them: epoch, update or score.
        like: the pattern as shown to users.
        kept_by: the config field that makes a run keep more of them.
    """

    name: Pattern[str]
    like: str
    kept_by: str


EPOCH = Kind(re.compile(r"checkpoint(\d+)\.pt"), "checkpoint<epoch>.pt", "checkpoint.keep_last_epochs")
UPDATE = Kind(
    re.compile(r"checkpoint_\d+_(\d+)\.pt"),
    "checkpoint_<epoch>_<update>.pt",
    "checkpoint.keep_interval_updates, with checkpoint.save_interval_updates,",
)
BEST = Kind(
    re.compile(r"checkpoint\.best_.+_(\d+\.?\d*)\.pt"),
    "checkpoint.best_<metric>_<score>.pt",
    "checkpoint.keep_best_checkpoints",
)


def average_checkpoints(paths: Sequence[str]) -> dict[str, Any]:
    """Average the weights of checkpoints; everything else comes from the first of them.

    The mean is that of fairseq's scripts/average_checkpoints.py, which its packages leave out: summed in float32 in
    the order of the files, then divided; half-precision weights become float32. Three things differ from it: integers
    and the front end's statistics are taken from the first file unchanged; models that are not alike are refused; and
    the float32 master weights of a half-precision run are left out, because a run that starts from the result would
    use them instead of the mean.

    At most two checkpoints are in memory at a time, however many are averaged.

    Args:
        paths: at least one, of pretraining or of finetuning.

    Returns:
        A checkpoint, for `write_checkpoint`.

    Raises:
        ValueError: a file is not a checkpoint of a maskspec run, or the models differ in what they compute, in the
            names or shapes of their weights, in their labels or in their statistics.
        OSError: a file cannot be read.
    """
    state = read_checkpoint(paths[0], MODELS)
    if isinstance(state.get("last_optimizer_state"), dict):
        state["last_optimizer_state"].pop("master", None)
    state["model"] = {name: _summable(value) for name, value in state["model"].items()}
    for path in paths[1:]:
        _add(state, paths[0], path)
    for name, value in state["model"].items():
        if _is_averaged(name, value):
            value.div_(len(paths))
    return state


def _is_averaged(name: str, value: Tensor) -> bool:
    return value.is_floating_point() and name not in STATISTICS


def _summable(value: Tensor) -> Tensor:
    """A copy, because two names may share one storage; floats get at least 32 bits."""
    dtype = torch.promote_types(value.dtype, torch.float32) if value.is_floating_point() else value.dtype
    return value.to(dtype, copy=True)


def _add(state: dict[str, Any], first_path: str, path: str) -> None:
    """Add the weights of one checkpoint, which is freed before the next one is read."""
    other = read_checkpoint(path, MODELS)
    left, right = state["cfg"]["model"], other["cfg"]["model"]
    differing = differing_fields(left, right, {*left, *right} - {*TRAINING_FIELDS})
    differing = differing or _differing_weights(state["model"], other["model"])
    if differing:
        raise ValueError(
            f"{path}: expected a model like that of {first_path}, found another one ({'; '.join(differing)}); "
            "average the checkpoints of one run, or of runs with the same model, labels and statistics"
        )
    for name, value in state["model"].items():
        if _is_averaged(name, value):
            value += other["model"][name]


def _differing_weights(expected: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    missing = [name for name in expected if name not in found]
    left_over = [name for name in found if name not in expected]
    if missing or left_over:
        return [f"{listed(missing)} missing and {listed(left_over)} left over"]
    shapes = [name for name in expected if expected[name].shape != found[name].shape]
    if shapes:
        return [f"{name}: expected {tuple(expected[name].shape)}, found {tuple(found[name].shape)}" for name in shapes]
    return [
        f"{name}: log-mel statistics that differ by up to {float((expected[name] - found[name]).abs().max()):.3g}"
        for name in STATISTICS
        if name in expected and not torch.equal(expected[name], found[name].to(expected[name].dtype))
    ]


def choose_checkpoints(inputs: Sequence[str], number: int, kind: Kind, upper_bound: Optional[int] = None) -> list[str]:
    """The last checkpoints of a run, newest first, or its best ones, best first.

    Whether a high score is good is read from the checkpoints' config. fairseq's script takes the lowest scores of any
    metric: the best for a loss, but the worst for an accuracy.

    Args:
        inputs: the directory with the checkpoints, or the files to choose from.
        upper_bound: the last epoch, or update, to consider.

    Raises:
        ValueError: there are fewer than `number`, files have other names, or the scores are of several metrics.
        OSError: a directory or file cannot be read.
    """
    paths = list(inputs)
    for path in paths:
        if not os.path.exists(path):
            raise ValueError(f"{path}: expected a directory with checkpoints, or a checkpoint, found none; correct it")
    if len(paths) == 1 and os.path.isdir(paths[0]):
        paths = [os.path.join(paths[0], file) for file in sorted(os.listdir(paths[0])) if kind.name.fullmatch(file)]
    numbers = {}
    for path in paths:
        match = kind.name.fullmatch(os.path.basename(path))
        if not match:
            raise ValueError(f"expected one directory with checkpoints, or files named {kind.like}, found {path}")
        if upper_bound is None or float(match[1]) <= upper_bound:
            numbers[path] = float(match[1])
    if len(numbers) < number:
        within = "" if upper_bound is None else f" up to {upper_bound}"
        raise ValueError(
            f"{', '.join(inputs)}: expected at least {number} checkpoints named {kind.like}{within}, found "
            f"{len(numbers)}; {kind.kept_by} says how many a run keeps"
        )
    highest_first = True
    if kind is BEST:
        metrics = sorted({os.path.basename(path).rpartition("_")[0] for path in numbers})
        if len(metrics) > 1:
            raise ValueError(f"expected scores of one metric, found {', '.join(metrics)}; name the files of one")
        path = next(iter(numbers))
        cfg = read_checkpoint(path, MODELS)["cfg"].get("checkpoint")
        field = "maximize_best_checkpoint_metric"
        check_fields(cfg, {field: FLAG}, f"{path}: cfg.checkpoint", required=[field])
        highest_first = cfg[field]
    return sorted(numbers, key=numbers.__getitem__, reverse=highest_first)[:number]
