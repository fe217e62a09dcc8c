"""Read checkpoints of training runs without fairseq, and without running code from them."""

import inspect
import os
import pickle
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from maskspec_fairseq.modules.classifier import SpectrogramClassifier
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.modules.sizes import SIZES
from maskspec_fairseq.registered_names import MODELS, PRETRAINING_MODEL

# The fields in which an encoder and the weights for it must agree.
ENCODER_FIELDS = (
    "front_end", "sample_rate", "patch_size", "encoder_embed_dim", "encoder_layers", "encoder_attention_heads",
    "encoder_ffn_embed_dim", "cls_token", "position_grid",
)  # fmt: skip
# Fields that older checkpoints lack, with the values of those models.
NEWER_FIELDS: dict[str, Any] = {"position_grid": []}
# The override `size=` that makes an encoder of a width.
SIZE_OF_WIDTH = {size.encoder_embed_dim: name for name, size in SIZES.items()}
# The log-mel statistics among the weights of a model.
STATISTICS = ("front_end.mel_mean", "front_end.mel_std")
# How torch 2.1 and newer name a function or class that they refuse to load.
DISALLOWED_GLOBAL = re.compile(r"(?:GLOBAL|Unsupported class) ([\w.]+)")


def read_torch_file(path: str, kind: str) -> Any:
    """Read a file written by `torch.save` to the CPU, as data only.

    A pickle can name functions that are called when it is read. Only tensors, numbers, strings and containers are read
    here; a file with anything else in it is refused, and nothing of it is run.

    Args:
        kind: what the file is expected to be, for the messages.

    Raises:
        ValueError: there is no such file, it was not written by `torch.save`, or it holds more than data.
        OSError: it cannot be read.
    """
    if os.path.isdir(path):
        raise ValueError(f"{path}: expected {kind}, found a directory; name the checkpoint that it was exported from")
    if not os.path.isfile(path):
        raise ValueError(f"{path}: expected {kind}, found no such file; correct the path")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except pickle.UnpicklingError as error:
        # torch's own message recommends reading the file without this protection
        name = DISALLOWED_GLOBAL.search(str(error))
        found = f"{name[1]} in it, which is not data" if name else "more than data, or not a file of torch.save"
        raise ValueError(
            f"{path}: expected {kind}, found: {found}; it was not read any further, because that could run code of "
            "whoever wrote the file"
        ) from None
    except Exception as error:  # torch's reader raises IndexError and KeyError, too, on other files
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path}: expected {kind}, found: {reason}") from error


def read_checkpoint(path: str, models: tuple[str, ...]) -> dict[str, Any]:
    """Read a checkpoint to the CPU, as data only, see `read_torch_file`.

    Args:
        models: the registered names of the models it may be of.

    Returns:
        What fairseq saved; `["cfg"]["model"]` has the fields that older checkpoints lack, too.

    Raises:
        ValueError: there is no such file, it is not a checkpoint of these models, or it holds more than data.
        OSError: it cannot be read.
    """
    state = read_torch_file(path, "a checkpoint of a maskspec run")
    cfg = state.get("cfg") if isinstance(state, dict) else None
    model = cfg.get("model") if isinstance(cfg, dict) else None
    name = model.get("_name") if isinstance(model, dict) else None
    if not isinstance(model, dict) or name not in models:
        raise ValueError(f"{path}: expected a checkpoint of the model {' or '.join(map(repr, models))}, found {name!r}")
    if not isinstance(state.get("model"), dict):
        raise ValueError(f"{path}: expected weights under the key 'model', found none")
    for field, value in NEWER_FIELDS.items():
        model.setdefault(field, value)
    return state


def model_arguments(cls: type[nn.Module], cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a module, taken from a model's config.

    Raises:
        ValueError: the config lacks one of them.
    """
    missing = [name for name in inspect.signature(cls).parameters if name not in cfg]
    if missing:
        raise ValueError(f"expected the fields {', '.join(missing)} in the model's config, found none; train it again")
    return {name: cfg[name] for name in inspect.signature(cls).parameters}


def load_autoencoder(path: str) -> tuple[MaskedAutoencoder, dict[str, Any]]:
    """The model of a pretraining checkpoint, in eval mode, and the checkpoint's config.

    Raises:
        ValueError, OSError: as `read_checkpoint`.
    """
    state = read_checkpoint(path, (PRETRAINING_MODEL,))
    model = MaskedAutoencoder(**model_arguments(MaskedAutoencoder, state["cfg"]["model"]))
    model.load_state_dict(state["model"])
    return model.eval(), state["cfg"]


def load_pretrained(model: SpectrogramClassifier, cfg: Mapping[str, Any], path: str) -> str:
    """Load the encoder of a pretraining or finetuning checkpoint into a classifier.

    The front end's statistics are loaded with the encoder, if it has any (`LogMel.has_statistics`). The decoder is not
    loaded. The head is loaded from a finetuning checkpoint with the same classes in the same order. Learned positions
    (`model.position_grid`) of an encoder whose positions were sinusoidal begin as those.

    Args:
        cfg: the classifier's config.

    Returns:
        What was loaded, in words.

    Raises:
        ValueError: there is no such file, it is not such a checkpoint, its encoder or front end is another one, or
            weights are missing or left over.
        OSError: the file cannot be read.
    """
    state = read_checkpoint(path, MODELS)
    found, weights = state["cfg"]["model"], state["model"]
    # learned positions begin as the sinusoidal ones, which a checkpoint does not hold
    learned_here = ["encoder.learned_positions"] if cfg["position_grid"] and not found["position_grid"] else []
    differing = [
        f"{name}: expected {cfg[name]}, found {found[name]}"
        for name in ENCODER_FIELDS
        if cfg[name] != found[name] and not (name == "position_grid" and learned_here)
    ]
    if differing:
        size = SIZE_OF_WIDTH.get(found["encoder_embed_dim"])
        cure = f"size={size} on the command line makes a model of that size, " if size else ""
        raise ValueError(
            f"{path}: expected the encoder that model.* describes, found another one ({'; '.join(differing)}); "
            f"{cure}model.FIELD=VALUE sets one field"
        )
    same_classes = list(found.get("label_keys", [])) == list(cfg["label_keys"])
    left_out = ["decoder."]
    if not same_classes:
        left_out.append("head.")
    if cfg["norm_after_pool"]:
        left_out.append("encoder.norm.")
    kept = {name: value for name, value in weights.items() if not name.startswith(tuple(left_out))}
    missing, left_over = model.load_state_dict(kept, strict=False)
    missing = [name for name in missing if not name.startswith(("head.", "pool_norm.", *learned_here))]
    if missing or left_over:
        raise ValueError(
            f"{path}: expected every weight of the encoder and nothing else, found {listed(missing)} missing and "
            f"{listed(left_over)} left over; is model.norm_after_pool that of the checkpoint "
            f"({found.get('norm_after_pool', False)})?"
        )
    head = "head" if same_classes else "new head"
    encoder = "encoder and statistics" if model.front_end.has_statistics else "encoder, without statistics,"
    return f"{encoder} of {found['_name']} from {path}, {head} for {len(cfg['label_keys'])} classes"


def listed(names: list[str]) -> str:
    """The first five of some names, for a message; "none" without any."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "none"
