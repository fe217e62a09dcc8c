"""Read files of weights of others as data: torch's, without running code from them, and safetensors."""

import argparse
import contextlib
from typing import Any, Dict, Tuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from maskspec_fairseq.checkpoints.read import read_torch_file

KIND = "a file of weights"


def read_weights(path: str) -> Tuple[Dict[str, Tensor], Dict[str, Any]]:
    """The weights of a file by their names, in float32, and the options of the run that wrote it, where it has them.

    The weights are all that there is, or stand under `model`; the options are an `argparse.Namespace` under `args`,
    the only thing beside plain data that is let through.

    Raises:
        ValueError: no such file, no file of weights, or more than data in it.
        OSError: it cannot be read.
    """
    if path.endswith(".safetensors"):
        state = _read_safetensors(path)
    else:
        state = _read_torch(path)
    options = {}
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        options = vars(state["args"]) if isinstance(state.get("args"), argparse.Namespace) else {}
        state = state["model"]
    if not isinstance(state, dict) or not state or not all(map(torch.is_tensor, state.values())):
        keys = ", ".join(map(str, list(state)[:5])) if isinstance(state, dict) else type(state).__name__
        raise ValueError(f"{path}: expected weights by name, all there is or under the key 'model', found {keys!r}")
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}, options


def _read_torch(path: str) -> Any:
    safe_globals = getattr(torch.serialization, "safe_globals", None)
    with safe_globals([argparse.Namespace]) if safe_globals else contextlib.nullcontext():
        try:
            return read_torch_file(path, KIND)
        except ValueError as error:
            if safe_globals or "argparse.Namespace" not in str(error):
                raise
            cure = f"torch 2.5 and newer read these options of a run as data, found torch {torch.__version__}"
            raise ValueError(f"{error}; {cure}") from error


def _read_safetensors(path: str) -> Any:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: expected {KIND}, found no such file; correct the path") from None
    except SafetensorError as error:
        raise ValueError(f"{path}: expected safetensors, found: {error}; is the file cut off?") from error
