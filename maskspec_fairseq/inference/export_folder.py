"""Export folders: write a model as `config.json` and `model.safetensors`, and load it; what is in them is read by
`checkpoints/exported.py`. Page: docs/export.md."""

import json
import os
import reprlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from maskspec_fairseq.atomic_write import write_together
from maskspec_fairseq.checkpoints.exported import (
    CONFIG_FILE,
    MODEL_TYPE,
    PROBLEM_TYPES,
    TRANSFORMERS_NAMES,
    WEIGHTS_FILE,
    read_exported,
)
from maskspec_fairseq.inference.audio_model import AudioModel, load_weights
from maskspec_fairseq.modules.transformer import LAYER_NORM_EPS


def check_head_of_clips(model: AudioModel, option: str) -> None:
    """Check that a model can be written in a form that has no frames.

    Args:
        model: to be written.
        option: of maskspec-export, that asks for the form.

    Raises:
        ValueError: it has a head of frames.
    """
    if model.network.head_of_frames:
        raise ValueError(
            f"expected a model with a head of clips for {option}, found model.head=frames; export the folder alone, "
            f"without {option}"
        )


def write_folder(model: AudioModel, directory: str, dtype: torch.dtype = torch.float32) -> None:
    """Write a model; files of an earlier export are replaced.

    Args:
        model: on any device.
        directory: the folder, created if missing.
        dtype: of the weights in the file; they are float32 when they are loaded. The statistics are float32 in it, too.

    Raises:
        ValueError: a weight is too large for the dtype.
        OSError: it cannot be written.
    """
    config = folder_config(model)

    def write_config(path: Path) -> None:
        with open(path, "w", encoding="utf-8") as stream:
            json.dump(config, stream, indent=1, ensure_ascii=False)
            stream.write("\n")

    weights = {name: value.contiguous() for name, value in model.network.state_dict().items()}
    for name, parameter in model.network.named_parameters():
        weights[name] = parameter.detach().to(dtype).contiguous()
        if not weights[name].isfinite().all():
            raise ValueError(
                f"expected weights up to {torch.finfo(dtype).max:g} for {dtype}, found {name} with "
                f"{parameter.abs().max():g}; write them in float32"
            )
    files = {WEIGHTS_FILE: lambda path: path.write_bytes(save(weights)), CONFIG_FILE: write_config}
    write_together(directory, files)


def folder_config(model: AudioModel) -> dict[str, Any]:
    """The content of `config.json`."""
    front_end, (bins, frames) = model.network.front_end, model.network.patch_size
    config = {
        "model_type": MODEL_TYPE,
        **{TRANSFORMERS_NAMES.get(name, name): value for name, value in model.architecture.items()},
        # the same in all our models, for readers of the file
        "hidden_act": "gelu",
        "qkv_bias": True,
        "layer_norm_eps": LAYER_NORM_EPS,
        "num_mel_bins": front_end.n_mels,
        "frequency_stride": bins,
        "time_stride": frames,
        "max_length": front_end.num_frames(model.window_samples),
        "clip_sec": model.clip_sec,
        "channel": model.channel,
    }
    if model.layers:
        config["layers"] = list(model.layers)
    if model.labels:
        config["problem_type"] = PROBLEM_TYPES[model.target_is_multilabel]
        config["id2label"] = {str(number): label.name for number, label in enumerate(model.labels)}
        config["label_keys"] = [label.key for label in model.labels]
    return config


def read_folder(directory: str) -> AudioModel:
    """Load the model of a folder, in eval mode on the CPU.

    Raises:
        ValueError: a file is missing, is damaged, or does not fit the other one.
        OSError: a file cannot be read.
    """
    config, arguments, weights = read_exported(directory)
    path, weights_path = (os.path.join(directory, name) for name in (CONFIG_FILE, WEIGHTS_FILE))
    model = AudioModel(**arguments)
    for name, value in folder_config(model).items():
        if config.get(name, value) != value:
            raise ValueError(
                f"{path}: expected {name} to be {reprlib.repr(value)}, as the other fields have it, found "
                f"{reprlib.repr(config[name])}; export the model again"
            )
    return load_weights(model, weights, weights_path)
