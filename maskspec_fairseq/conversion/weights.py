"""Read third-party weights as data: files of torch, without running code from them, and of safetensors."""

import argparse
import contextlib
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from maskspec_fairseq.checkpoints.check import check_tensors
from maskspec_fairseq.checkpoints.read import read_torch_file

EXPECTED = "a file of weights"


def read_weights(path: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights of a file by name, in float32, and the options of the run that wrote it, if the file has them.

    The weights are the whole file, or stand under the key `model`; the options are an `argparse.Namespace` under
    `args`, the only class that is allowed in the file.

    Raises:
        ValueError: there is no such file, it does not hold finite weights, or it holds more than data.
        OSError: it cannot be read.
    """
    if path.endswith(".safetensors"):
        state = _read_safetensors(path)
    else:
        state = _read_torch(path)
    options: dict[str, Any] = {}
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        if isinstance(state.get("args"), argparse.Namespace):
            options = dict(vars(state["args"]))
        state = state["model"]
    if not isinstance(state, dict) or not state or not all(map(torch.is_tensor, state.values())):
        keys = ", ".join(map(str, list(state)[:5])) if isinstance(state, dict) else type(state).__name__
        raise ValueError(f"{path}: expected weights by name, at the top level or under the key 'model', found {keys!r}")
    check_tensors(state, path)
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}, options


def _read_torch(path: str) -> Any:
    safe_globals = getattr(torch.serialization, "safe_globals", None)
    with safe_globals([argparse.Namespace]) if safe_globals else contextlib.nullcontext():
        try:
            return read_torch_file(path, EXPECTED)
        except ValueError as error:
            if safe_globals or "argparse.Namespace" not in str(error):
                raise
            cure = f"torch 2.5 and newer read these options of a run as data, found torch {torch.__version__}"
            raise ValueError(f"{error}; {cure}") from error


def _read_safetensors(path: str) -> Any:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: expected {EXPECTED}, found no such file; correct the path") from None
    except SafetensorError as error:
        raise ValueError(f"{path}: expected safetensors, found: {error}; is the file cut off?") from error
