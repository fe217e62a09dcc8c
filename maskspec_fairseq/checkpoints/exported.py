"""Export folders: a model as two files that hold no code, `config.json` and `model.safetensors`.

`config.json` holds all that a model is built from: sizes, front end, clip length, channel and labels. Its fields have
the names of `ASTConfig` (the audio spectrogram transformer) in Hugging Face transformers where they mean the same; the
others are ours. `model.safetensors` holds the weights of a `SpectrogramClassifier` and the statistics of the log-mel,
without decoder and optimizer. Page: docs/export.md.
"""

import os
import reprlib
from pathlib import Path
from typing import Any, Optional

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from maskspec_fairseq.checkpoints.check import ARCHITECTURE, LABELS, LAYERS, MODEL, TASK, check_weights
from maskspec_fairseq.data_dir.labels import Label
from maskspec_fairseq.fields import TEXT, Field, check_fields, list_of, one_of, read_json
from maskspec_fairseq.modules.classifier import SpectrogramClassifier
from maskspec_fairseq.registered_names import PRETRAINING_MODEL

PACKAGE = Path(__file__).parents[1]
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
MODEL_TYPE = PRETRAINING_MODEL
PROBLEM_TYPES = {True: "multi_label_classification", False: "single_label_classification"}
# Argument of `SpectrogramClassifier` -> field of the config.
TRANSFORMERS_NAMES = {
    "encoder_embed_dim": "hidden_size",
    "encoder_layers": "num_hidden_layers",
    "encoder_attention_heads": "num_attention_heads",
    "encoder_ffn_embed_dim": "intermediate_size",
    "sample_rate": "sampling_rate",
}
OF_LABELS: dict[str, Field] = {
    "problem_type": one_of(*PROBLEM_TYPES.values()),
    "id2label": Field(
        "a name for each number of a class",
        lambda value: isinstance(value, dict) and all(map(TEXT.accepts, value.values())),
    ),
    "label_keys": LABELS["label_keys"],
}
# What a model is made of; the other fields follow from these.
FIELDS: dict[str, Field] = {
    **{TRANSFORMERS_NAMES.get(name, name): MODEL[name] for name in ARCHITECTURE},
    "clip_sec": TASK["clip_sec"],
    "channel": TASK["channel"],
    "layers": list_of(LAYERS),
    **OF_LABELS,
}
OPTIONAL = ("head", "layers", *OF_LABELS)  # folders of before there were heads of frames have no `head`


def shipped_folders(package: Path = PACKAGE) -> dict[str, str]:
    """The exported folders that come with the package, by their names.

    A wheel has `weights/` in the package, a checkout next to it.
    """
    configs = [path for parent in (package.parent, package) for path in parent.glob(f"weights/*/{CONFIG_FILE}")]
    return {path.parent.name: str(path.parent) for path in configs}


def shipped_weights(name: str, package: Path = PACKAGE) -> Optional[str]:
    """The exported folder of that name that comes with the package, None if there is none."""
    return shipped_folders(package).get(name)


def pretrained_path(path: str, directory: str) -> str:
    """The absolute path of a start of a training: from `directory`, or of weights that come with the package."""
    here = os.path.abspath(os.path.join(directory, path))
    return here if os.path.exists(here) else shipped_weights(path) or here


def weights_file(path: str) -> str:
    """The file of the weights: that of an exported folder, or the path itself."""
    return os.path.join(path, WEIGHTS_FILE) if os.path.isdir(path) else path


def read_exported(directory: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """Read a folder, as data only.

    Returns:
        config: the content of `config.json`.
        arguments: of the `AudioModel` that it describes, see `read_config`.
        weights: of its network, float32.

    Raises:
        ValueError: a file is missing, is damaged, or does not fit the other one.
        OSError: a file cannot be read.
    """
    path, weights_path = (os.path.join(directory, name) for name in (CONFIG_FILE, WEIGHTS_FILE))
    for file in (path, weights_path):
        if not os.path.isfile(file):
            raise ValueError(
                f"{directory}: expected a folder of maskspec-export with {CONFIG_FILE} and {WEIGHTS_FILE}, found no "
                f"{os.path.basename(file)}; name such a folder, or the file of a checkpoint (.pt)"
            )
    config = read_json(path)
    arguments = read_config(config, path)
    try:
        # a pretraining by transformers leaves a decoder there
        weights = {name: value for name, value in load_file(weights_path).items() if not name.startswith("decoder.")}
    except SafetensorError as error:
        raise ValueError(
            f"{weights_path}: expected safetensors, found: {error}; copy the file again, it may be cut off"
        ) from error
    architecture = arguments["architecture"]
    classifier = {**architecture, "num_classes": len(arguments["labels"])}
    check_weights(
        SpectrogramClassifier, classifier, weights, arguments["clip_sec"], weights_path, names=TRANSFORMERS_NAMES
    )
    return config, arguments, {name: value.to(torch.float32) for name, value in weights.items()}


def read_config(config: Any, path: str) -> dict[str, Any]:
    """The arguments of the `AudioModel` that a config describes.

    Args:
        config: the content of `config.json`, or whatever JSON was found there.
        path: of the file, for messages.

    Raises:
        ValueError: the config does not describe a model.
    """
    if not isinstance(config, dict) or config.get("model_type") != MODEL_TYPE:
        found = config.get("model_type") if isinstance(config, dict) else type(config).__name__
        raise ValueError(
            f"{path}: expected model_type {MODEL_TYPE!r}, found {reprlib.repr(found)}; name a folder of maskspec-export"
        )
    check_fields(config, FIELDS, path, required=[name for name in FIELDS if name not in OPTIONAL])
    keys, names = config.get("label_keys", []), config.get("id2label", {})
    numbers = list(map(str, range(len(keys))))
    if sorted(names) != sorted(numbers) or ("problem_type" in config) != bool(keys):
        raise ValueError(
            f"{path}: expected problem_type and a name in id2label for each of the {len(keys)} label_keys, found "
            f"{len(names)} names, or of other numbers, and problem_type {config.get('problem_type')}"
        )
    layers = config.get("layers", [])
    if layers and (keys or max(layers) > config["num_hidden_layers"]):
        raise ValueError(
            f"{path}: expected layers up to {config['num_hidden_layers']}, and no label_keys with layers, found layers "
            f"{reprlib.repr(layers)} and {len(keys)} label_keys; export the model again"
        )
    fields = {name: TRANSFORMERS_NAMES.get(name, name) for name in ARCHITECTURE}
    return {
        "architecture": {
            "head": "linear",
            **{name: config[field] for name, field in fields.items() if field in config},
        },
        "clip_sec": config["clip_sec"],
        "channel": config["channel"],
        "labels": [Label(key, names[number]) for number, key in zip(numbers, keys)],
        "target_is_multilabel": config.get("problem_type") == PROBLEM_TYPES[True],
        "layers": layers,
    }
