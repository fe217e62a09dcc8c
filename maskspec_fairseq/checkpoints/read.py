"""Read checkpoints of training runs without fairseq, and without running code from them."""

import inspect
import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from maskspec_fairseq.checkpoints.check import (
    ENCODER,
    LABELS,
    MODEL,
    TASK,
    check_labels,
    check_tensors,
    check_weights,
    listed,
)
from maskspec_fairseq.checkpoints.exported import pretrained_path, read_exported
from maskspec_fairseq.fields import check_fields
from maskspec_fairseq.modules.classifier import SpectrogramClassifier
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.modules.patches import simplest_patch_size
from maskspec_fairseq.modules.pooling import ATTENTION
from maskspec_fairseq.modules.sizes import SIZES
from maskspec_fairseq.registered_names import FINETUNING_MODEL, MODELS, PRETRAINING_MODEL

ENCODER_FIELDS = tuple(ENCODER)
MODULES: dict[str, type[nn.Module]] = {PRETRAINING_MODEL: MaskedAutoencoder, FINETUNING_MODEL: SpectrogramClassifier}
STAGES = {PRETRAINING_MODEL: "pretraining", FINETUNING_MODEL: "finetuning"}
# Fields that older checkpoints lack, with the values of those models.
NEWER_FIELDS: dict[str, Any] = {
    "position_grid": [],
    "decoder_share": 1.0,
    "decoder_attention": "self",
    "head": "linear",
}
# The override `size=` that makes an encoder of a width.
SIZE_OF_WIDTH = {size.encoder_embed_dim: name for name, size in SIZES.items()}
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
    if os.path.isdir(pretrained_path(path, os.curdir)):
        raise ValueError(
            f"{path}: expected {kind}, found a folder; name the file of a checkpoint (.pt): an exported folder, such "
            "as the weights that come with the package, has neither a decoder nor an optimizer's state"
        )
    if not os.path.isfile(path):
        raise ValueError(f"{path}: expected {kind}, found no such file; correct the path")
    try:
        _check_archive(path)
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
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path}: expected {kind}, found: {reason.rstrip('.')}; copy the file again") from error
    except Exception as error:  # torch's reader raises EOFError, IndexError and KeyError on other files
        raise ValueError(f"{path}: expected {kind}, found: no file of torch.save; correct the path") from error


def _check_archive(path: str) -> None:
    """Check that an archive of `torch.save` is no larger than its file: torch compresses nothing, but would inflate it.

    Raises:
        ValueError: it is.
    """
    if not zipfile.is_zipfile(path):
        return  # the format of before torch 1.6, whose storages are read from the file as far as it goes
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    size = sum(member.file_size for member in members)
    if size > os.path.getsize(path) or any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError(f"{size} bytes packed into {os.path.getsize(path)}, which torch.save never does")


def read_checkpoint(path: str, models: tuple[str, ...]) -> dict[str, Any]:
    """Read a checkpoint to the CPU, as data only, see `read_torch_file`.

    Args:
        models: the registered names of the models it may be of.

    Returns:
        What fairseq saved; `["cfg"]["model"]` has the fields that older checkpoints lack, too. `${...}` in a text stays
        as it is: nothing of the environment is filled in.

    Raises:
        ValueError: there is no such file, it is not a checkpoint of these models, it holds more than data, or its
            config or weights cannot be those of a model (see `checkpoints/check.py`).
        OSError: it cannot be read.
    """
    state = read_torch_file(path, "a checkpoint of a maskspec run")
    cfg = state.get("cfg") if isinstance(state, dict) else None
    model = cfg.get("model") if isinstance(cfg, dict) else None
    name = model.get("_name") if isinstance(model, dict) else None
    if not isinstance(cfg, dict) or not isinstance(model, dict) or name not in models:
        found = repr(name) if name else "a file without the config of a model"
        stages = " or ".join(f"a {STAGES[model]}" for model in models)
        raise ValueError(
            f"{path}: expected a checkpoint of the model {' or '.join(map(repr, models))}, found {found}; name a "
            f"checkpoint of {stages}" + (", or the folder of this file" if path.endswith(".safetensors") else "")
        )
    for field in NEWER_FIELDS.keys() & inspect.signature(MODULES[name]).parameters:
        model.setdefault(field, NEWER_FIELDS[field])
    labels = tuple(LABELS) if name == FINETUNING_MODEL else ()
    check_fields(model, MODEL, f"{path}: cfg.model", required=(*ENCODER_FIELDS, *labels))
    model["patch_size"] = simplest_patch_size(model["patch_size"])  # to compare
    check_fields(cfg.get("task", {}), TASK, f"{path}: cfg.task")
    if labels:
        check_labels(model["label_keys"], model["label_names"], model["num_classes"], f"{path}: cfg.model")
    check_tensors(state.get("model"), path)
    return state


def check_model(state: dict[str, Any], path: str) -> None:
    """Check that a checkpoint's weights are all of the model that its config describes, before it is built.

    Raises:
        ValueError: they are not, see `check_weights`; or the config does not say what clips the model is for.
    """
    cfg, task = state["cfg"]["model"], state["cfg"].get("task")
    check_fields(task, TASK, f"{path}: cfg.task", required=("clip_sec", "channel"))
    module = MODULES[cfg["_name"]]
    arguments = {name: cfg[name] for name in inspect.signature(module).parameters if name in cfg}
    check_weights(module, arguments, state["model"], task["clip_sec"], path)


def model_arguments(cls: type[nn.Module], cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a module, taken from a model's config.

    Raises:
        ValueError: the config lacks one of them, or one is outside its range.
    """
    missing = [name for name in inspect.signature(cls).parameters if name not in cfg]
    if missing:
        raise ValueError(f"expected the fields {', '.join(missing)} in the model's config, found none; train it again")
    arguments = {name: cfg[name] for name in inspect.signature(cls).parameters}
    check_fields(arguments, MODEL, "model")
    return arguments


def load_autoencoder(path: str) -> tuple[MaskedAutoencoder, dict[str, Any]]:
    """The model of a pretraining checkpoint, in eval mode, and the checkpoint's config.

    Raises:
        ValueError, OSError: as `read_checkpoint`.
    """
    state = read_checkpoint(path, (PRETRAINING_MODEL,))
    arguments = model_arguments(MaskedAutoencoder, state["cfg"]["model"])
    check_model(state, path)
    model = MaskedAutoencoder(**arguments)
    model.load_state_dict(state["model"])
    return model.eval(), state["cfg"]


def _exported_encoder(path: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The config, as that of a checkpoint's model, and the weights of an exported folder."""
    _, arguments, weights = read_exported(path)
    keys = [label.key for label in arguments["labels"]]
    architecture = arguments["architecture"]
    patch_size = simplest_patch_size(architecture["patch_size"])
    return {**architecture, "patch_size": patch_size, "_name": "an exported model", "label_keys": keys}, weights


def load_pretrained(model: SpectrogramClassifier, cfg: Mapping[str, Any], path: str) -> str:
    """Load the encoder of a pretraining or finetuning checkpoint, or of an exported folder, into a classifier.

    The front end's statistics are loaded with the encoder, if it has any (`LogMel.has_statistics`). The decoder is not
    loaded. The head is loaded from a finetuning checkpoint with the same classes in the same order, the same pooling
    and the same kind of head, and the weights of the pooling `attention` from one that has them. Learned positions
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
    state = None if os.path.isdir(path) else read_checkpoint(path, MODELS)
    found, weights = (state["cfg"]["model"], state["model"]) if state else _exported_encoder(path)
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
            f"{cure}model.FIELD=VALUE sets one field, task.sample_rate=VALUE the rate"
        )
    if state:
        check_model(state, path)
    same_classes = list(found.get("label_keys", [])) == list(cfg["label_keys"])
    same_head = same_classes and found.get("pool", "mean") == cfg["pool"] and found.get("head") == cfg["head"]
    left_out = ["decoder."]
    if not same_head:
        left_out.append("head.")
    if cfg["pool"] != ATTENTION:
        left_out.append("attention_pool.")
    if cfg["norm_after_pool"]:
        left_out.append("encoder.norm.")
    kept = {name: value for name, value in weights.items() if not name.startswith(tuple(left_out))}
    missing, left_over = model.load_state_dict(kept, strict=False)
    new = ("head.", "pool_norm.", "attention_pool.", *learned_here)
    missing = [name for name in missing if not name.startswith(new)]
    if missing or left_over:
        raise ValueError(
            f"{path}: expected every weight of the encoder and nothing else, found {listed(missing)} missing and "
            f"{listed(left_over)} left over; is model.norm_after_pool that of the checkpoint "
            f"({found.get('norm_after_pool', False)})?"
        )
    head = "head" if same_head else "new head"
    encoder = "encoder and statistics" if model.front_end.has_statistics else "encoder, without statistics,"
    return f"{encoder} of {found['_name']} from {path}, {head} for {len(cfg['label_keys'])} classes"
