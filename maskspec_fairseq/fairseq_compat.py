"""Workarounds for the fairseq releases that we support, and a clear error where none imports."""

import importlib
import importlib.metadata
import logging
import os
import re
import signal
import sys
import threading
import warnings
from types import TracebackType
from typing import Any, Callable, Optional

logger = logging.getLogger(__name__)

FIRST_UNTESTED = {"hydra-core": (1, 4), "omegaconf": (2, 4)}  # the bounds of the extra `fairseq` in setup.py
FIRST_PYTHON_WITHOUT_FAIRSEQ = (3, 13)


def require_fairseq() -> None:
    """Import fairseq, and warn of versions next to it that it was not made for.

    Raises:
        ImportError: there is none, or one that fails to import, with the command that installs one that works.
    """
    versions = untested_versions()
    try:
        importlib.import_module("fairseq")
    except Exception as error:  # stock fairseq fails with ValueError on Python 3.11
        found = "".join(f", with {version}" for version in versions)
        raise ImportError(
            f"expected a fairseq that imports, found {type(error).__name__}: {error}{found}; {_cure(versions)}"
        ) from error
    for version in versions:
        logger.warning(f"{version}: this fairseq imports, but training with it is not tested; {_cure([version])}")


def untested_versions() -> list[str]:
    """What is installed beyond the bounds of the extra `fairseq`, such as "hydra-core 1.4.0 (expected <1.4)"."""
    found = []
    for package, (major, minor) in FIRST_UNTESTED.items():
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        numbers = re.match(r"(\d+)\.(\d+)", version)
        if numbers and (int(numbers[1]), int(numbers[2])) >= (major, minor):
            found.append(f"{package} {version} (expected <{major}.{minor})")
    return found


def _cure(versions: list[str]) -> str:
    """The command that brings a fairseq that works on this Python."""
    python = sys.version_info[:2]
    if python >= FIRST_PYTHON_WITHOUT_FAIRSEQ:
        return (
            f"no release of fairseq supports Python {python[0]}.{python[1]}: make an environment of Python 3.9 to 3.12 "
            "for training, `python3.12 -m venv .venv && .venv/bin/pip install 'CHECKOUT[fairseq]'`, with a checkout of "
            "this package; everything but training works without fairseq"
        )
    if versions:
        bounds = " ".join(f"'{package}<{major}.{minor}'" for package, (major, minor) in FIRST_UNTESTED.items())
        return f"`pip install {bounds}` installs versions that it supports"
    return (
        "`pip install 'maskspec-fairseq[fairseq]'` (or `pip install -e '.[fairseq]'` in a checkout) installs the one "
        "for this Python: fairseq 0.12.2 below Python 3.11, ve-fairseq 0.12.3 on Python 3.11 and 3.12"
    )


def show_full_tracebacks() -> None:
    """Make the errors of a run readable on fairseq 0.12.2 with Python 3.10.

    Its hydra 1.0 shortens tracebacks with a function that Python 3.10 no longer has, and prints the failure of that
    call instead of the error. Full tracebacks do not need it.
    """
    import hydra

    if hydra.__version__.startswith("1.0."):
        os.environ.setdefault("HYDRA_FULL_ERROR", "1")


def allow_checkpoint_broadcast() -> None:
    """Let a run on several GPUs resume with torch 2.6 or newer.

    fairseq's first rank reads the checkpoint and broadcasts it, including its config nodes. The other ranks unpickle it
    with `torch.load`, which since torch 2.6 only accepts types that it was told about.
    """
    import collections
    import typing

    import fairseq.distributed.utils
    import torch
    from omegaconf import DictConfig, ListConfig, base, nodes

    placeholder = getattr(fairseq.distributed.utils, "_TensorPlaceholder", None)  # private: a fork may lack it
    placeholders = [placeholder] if placeholder else []
    if hasattr(torch.serialization, "add_safe_globals"):
        torch.serialization.add_safe_globals(
            [DictConfig, ListConfig, base.ContainerMetadata, base.Metadata, nodes.AnyNode, typing.Any]
            + [collections.defaultdict, dict, list, int, *placeholders]
        )


def shorten_log() -> None:
    """Keep out of the log what fairseq prints in full at the start, config and layers, and what no user can act on."""
    from omegaconf import DictConfig
    from torch.nn import Module

    def shorten(record: logging.LogRecord) -> bool:
        if isinstance(record.msg, (dict, DictConfig)):
            record.msg = "config: `cfg` in the checkpoints; .hydra/ has that of the last command, a refused one too"
        return not isinstance(record.msg, Module)

    logging.getLogger("fairseq_cli.train").addFilter(shorten)
    # fairseq's settings for a GPU and its use of a former name, at every epoch
    for message in ("'pin_memory' argument is set as true but no accelerator", r"`torch\.cuda\.amp\.autocast\(args"):
        warnings.filterwarnings("ignore", message)


_interrupted = False


def remember_interrupts() -> None:
    """Let Ctrl-C end a run wherever it comes, by `raise_if_interrupted` in every update, and in one line.

    Python ignores the KeyboardInterrupt that is raised while an object is finalized, as the loaders of an epoch are at
    the start of the next one.
    """
    global _interrupted
    _interrupted = False
    main = threading.current_thread() is threading.main_thread()  # no other may set a handler
    if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
        sys.excepthook = _report


def _report(kind: type[BaseException], error: BaseException, traceback: Optional[TracebackType]) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted; the same command resumes from the last checkpoint, if there is one", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


def _interrupt(number: int, frame: Any) -> None:
    global _interrupted
    _interrupted = True
    raise KeyboardInterrupt


def raise_if_interrupted() -> None:
    """Raise the KeyboardInterrupt that was ignored, if there was one."""
    if _interrupted:
        raise KeyboardInterrupt


def check_devices(cpu: bool, half_precision: bool) -> None:
    """Refuse devices on which fairseq would fail, or do something else than was asked for.

    Args:
        cpu: `common.cpu`.
        half_precision: `common.fp16`, `common.bf16` or `common.amp`.

    Raises:
        ValueError: no GPU for half precision, or processes of torchrun that do not know of one another.
    """
    import torch

    if half_precision and not cpu and not torch.cuda.is_available():
        raise ValueError(
            "expected a GPU for training in half precision, found none that torch can use; "
            "to train on the CPU, add common.cpu=true common.fp16=false"
        )
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size > 1 and "RANK" in os.environ and not torch.distributed.is_initialized():
        raise ValueError(
            f"expected one run by the {world_size} processes that torchrun has started, found a run for each of them; "
            f"on GPUs, add distributed_training.distributed_world_size={world_size}; on a CPU, docs/multi_gpu.md has "
            "the command"
        )


def check_last_epoch_is_saved(max_epoch: int, max_update: int, save_interval: int, no_save: bool) -> None:
    """Refuse a run whose last epoch fairseq would not save: it saves every `save_interval` epochs, and at `max_update`.

    Raises:
        ValueError: the run would end by its epochs, and not with one that is saved.
    """
    if not no_save and not max_update and max_epoch % save_interval:
        raise ValueError(
            f"expected a run whose last epoch is saved, found optimization.max_epoch={max_epoch} with "
            f"checkpoint.save_interval={save_interval}; take a save_interval that divides max_epoch"
        )


def resolve_named_checkpoints(model_cfg: Any, resolve: Callable[[str], str]) -> dict[str, str]:
    """Let fairseq read the checkpoints that the command names at absolute paths, not below the run directory.

    fairseq builds the task and the model before it looks for them, and gives each its own section of the config alone.

    Args:
        model_cfg: the section `model`, part of the whole config.
        resolve: makes a path absolute.

    Returns:
        The absolute paths of `restore_file` and `finetune_from_model`, as far as they are given.
    """
    cfg = model_cfg._get_parent()
    named: dict[str, str] = {}
    if cfg is None:
        return named
    for name, default in (("restore_file", "checkpoint_last.pt"), ("finetune_from_model", None)):
        path = cfg.checkpoint[name]
        if path and path != default:
            cfg.checkpoint[name] = named[name] = resolve(path)
    return named


def allow_unused_parameters(model_cfg: Any) -> None:
    """Let torch's DistributedDataParallel train a model of which a part has no gradients in some updates.

    By default it waits for the gradient of each parameter that it was built with. fairseq builds it after the model.

    Args:
        model_cfg: the section `model`, part of the whole config.
    """
    cfg = model_cfg._get_parent()
    if cfg is not None:
        cfg.distributed_training.find_unused_parameters = True


# fairseq passes a learning-rate schedule its config and the optimizer, but not the iterator, so a schedule in epochs
# has no other way to know how many updates an epoch has. A process trains one model on one training subset.
_batches: Optional[int] = None


def set_batches_per_epoch(batches: int) -> None:
    """Set the number of training batches per epoch and GPU; the task calls it for the learning-rate schedule."""
    global _batches
    _batches = batches


def get_batches_per_epoch() -> Optional[int]:
    """The number of training batches per epoch and GPU, None until the training iterator exists."""
    return _batches
