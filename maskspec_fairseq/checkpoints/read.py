"""Read checkpoints of training runs without fairseq and without running code from them."""

import inspect
import os
import pickle
import re
from typing import Any, Dict, List, Mapping, Tuple, Type

import torch
from torch import nn

from maskspec_fairseq.modules.classifier import SpectrogramClassifier
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.modules.sizes import SIZES
from maskspec_fairseq.registered_names import FINETUNING_MODEL, MODELS, PRETRAINING_MODEL

# What an encoder and the weights for it must agree in.
ENCODER_FIELDS = (
    "front_end", "sample_rate", "patch_size", "encoder_embed_dim", "encoder_layers", "encoder_attention_heads",
    "encoder_ffn_embed_dim", "cls_token", "position_grid",
)  # fmt: skip
# Fields that older checkpoints lack, with the values that those models have.
NEWER_FIELDS: Dict[str, Any] = {"position_grid": []}
# The override `size=` that makes an encoder of a width.
SIZE_OF_WIDTH = {size.encoder_embed_dim: name for name, size in SIZES.items()}
# What torch 2.1 and newer call a function or class that is no data.
FOREIGN = re.compile(r"(?:GLOBAL|Unsupported class) ([\w.]+)")


def read_torch_file(path: str, kind: str) -> Any:
    """What a file of `torch.save` holds, on the CPU.

    A pickle can name functions that are called when it is read. Only tensors, numbers, texts and containers are read
    here; whatever else there is in a file is not run, and the file is refused.

    Args:
        kind: what is expected, for the messages.

    Raises:
        ValueError: there is no such file, or it is no file of `torch.save`, or holds more than data.
        OSError: it cannot be read.
    """
    if not os.path.isfile(path):
        raise ValueError(f"{path}: expected {kind}, found no such file; correct the path")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except pickle.UnpicklingError as error:
        # torch's own text recommends to read the file without this care
        foreign = FOREIGN.search(str(error))
        found = f"{foreign[1]} in it, which is not data" if foreign else "more than data, or no file of torch.save"
        raise ValueError(
            f"{path}: expected {kind}, found: {found}; it was not read any further, because that could run code of "
            "whoever wrote the file"
        ) from None
    except Exception as error:  # torch's reader raises IndexError and KeyError, too, on what is no checkpoint
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path}: expected {kind}, found: {reason}") from error


def read_checkpoint(path: str, models: Tuple[str, ...]) -> Dict[str, Any]:
    """A checkpoint of one of some registered models, on the CPU; data alone, see `read_torch_file`.

    Raises:
        ValueError: there is no such file, or it is no such checkpoint, or holds more than data.
        OSError: it cannot be read.
    """
    state = read_torch_file(path, "a checkpoint of a maskspec run")
    cfg = state.get("cfg") if isinstance(state, dict) else None
    model = cfg.get("model") if isinstance(cfg, dict) else None
    name = model.get("_name") if isinstance(model, dict) else None
    if name not in models:
        raise ValueError(f"{path}: expected a checkpoint of the model {' or '.join(map(repr, models))}, found {name!r}")
    if not isinstance(state.get("model"), dict):
        raise ValueError(f"{path}: expected weights under the key 'model', found none")
    for field, value in NEWER_FIELDS.items():
        model.setdefault(field, value)
    return state


def model_arguments(cls: Type[nn.Module], cfg: Mapping[str, Any]) -> Dict[str, Any]:
    """The arguments of a module, out of a model's config."""
    return {name: cfg[name] for name in inspect.signature(cls).parameters}


def load_autoencoder(path: str) -> Tuple[MaskedAutoencoder, Dict[str, Any]]:
    """The model of a pretraining checkpoint, in eval mode, and the checkpoint's config; errors of `read_checkpoint`."""
    state = read_checkpoint(path, (PRETRAINING_MODEL,))
    model = MaskedAutoencoder(**model_arguments(MaskedAutoencoder, state["cfg"]["model"]))
    model.load_state_dict(state["model"])
    return model.eval(), state["cfg"]


def load_classifier(path: str) -> Tuple[SpectrogramClassifier, Dict[str, Any]]:
    """The model of a finetuning checkpoint, in eval mode, and the checkpoint's config; errors of `read_checkpoint`.

    `cfg["model"]` has its labels, `label_keys` and `label_names`.
    """
    state = read_checkpoint(path, (FINETUNING_MODEL,))
    model = SpectrogramClassifier(**model_arguments(SpectrogramClassifier, state["cfg"]["model"]))
    model.load_state_dict(state["model"])
    return model.eval(), state["cfg"]


def load_pretrained(model: SpectrogramClassifier, cfg: Mapping[str, Any], path: str) -> str:
    """Start a classifier from the encoder of a pretrained or of an already finetuned checkpoint.

    The statistics of the front end come with the encoder, where it has any (`LogMel.has_statistics`); the decoder stays
    behind. The head comes along from a finetuned checkpoint with the same classes in the same order.

    Args:
        cfg: the classifier's config.

    Returns:
        What was loaded, in words.

    Raises:
        ValueError: no such checkpoint, another encoder or front end, or weights that are missing or left over.
        OSError: there is no such file.
    """
    state = read_checkpoint(path, MODELS)
    theirs, weights = state["cfg"]["model"], state["model"]
    differing = [
        f"{name}: expected {cfg[name]}, found {theirs[name]}" for name in ENCODER_FIELDS if cfg[name] != theirs[name]
    ]
    if differing:
        size = SIZE_OF_WIDTH.get(theirs["encoder_embed_dim"])
        cure = f"size={size} on the command line makes a model of that size, " if size else ""
        raise ValueError(
            f"{path}: expected the encoder that model.* describes, found another one ({'; '.join(differing)}); "
            f"{cure}model.FIELD=VALUE sets one field"
        )
    same_classes = list(theirs.get("label_keys", [])) == list(cfg["label_keys"])
    left_behind = ["decoder."]
    if not same_classes:
        left_behind.append("head.")
    if cfg["norm_after_pool"]:
        left_behind.append("encoder.norm.")
    kept = {name: value for name, value in weights.items() if not name.startswith(tuple(left_behind))}
    missing, left_over = model.load_state_dict(kept, strict=False)
    missing = [name for name in missing if not name.startswith(("head.", "pool_norm."))]
    if missing or left_over:
        raise ValueError(
            f"{path}: expected every weight of the encoder and nothing else, found {listed(missing)} missing and "
            f"{listed(left_over)} left over; is model.norm_after_pool that of the checkpoint "
            f"({theirs.get('norm_after_pool', False)})?"
        )
    head = "head" if same_classes else "new head"
    encoder = "encoder and statistics" if model.front_end.has_statistics else "encoder, without statistics,"
    return f"{encoder} of {theirs['_name']} from {path}, {head} for {len(cfg['label_keys'])} classes"


def listed(names: List[str]) -> str:
    """The first five of some names, for a message."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "none"
