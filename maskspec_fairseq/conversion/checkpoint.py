"""Convert third-party weights to a checkpoint such as a training run of this package writes."""

import inspect
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import torch
from torch import Tensor, nn

from maskspec_fairseq.checkpoints.check import STATISTICS, listed
from maskspec_fairseq.conversion.image import COLOUR_CHANNELS
from maskspec_fairseq.conversion.layout import LAYOUTS, check_weights, find_layout
from maskspec_fairseq.conversion.vit import Conversion, to_their_name
from maskspec_fairseq.data_dir.labels import Label
from maskspec_fairseq.modules.classifier import SpectrogramClassifier
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.registered_names import FINETUNING_MODEL, FINETUNING_TASK, PRETRAINING_MODEL, PRETRAINING_TASK

MODELS = {
    PRETRAINING_MODEL: (MaskedAutoencoder, PRETRAINING_TASK),
    FINETUNING_MODEL: (SpectrogramClassifier, FINETUNING_TASK),
}
# The numbers of classes of AudioSet and OpenMIC-2018, whose clips have several classes each.
MULTILABEL_CLASSES = (527, 20)


def convert(
    weights: dict[str, Tensor],
    options: dict[str, Any],
    statistics: Optional[tuple[np.ndarray, np.ndarray]] = None,
    labels: Sequence[Label] = (),
    layout: Optional[str] = None,
) -> tuple[str, dict[str, Any]]:
    """Convert weights to a checkpoint.

    Args:
        weights: by their third-party names.
        options: of the run that wrote them, as far as known.
        statistics: mean and deviation of every mel bin (128,); needed for MaskSpec's files only.
        labels: the classes of the head, in order; empty to leave them without names.
        layout: a key of `LAYOUTS`; found from the weights by default.

    Returns:
        What the weights are, in words, and the checkpoint.

    Raises:
        ValueError: the weights have none of the layouts, or it is uncertain which; statistics are missing or not
            wanted; or the labels are not those of the head.
    """
    check_weights(weights)
    if layout is None:
        layout = find_layout(weights)
    channels = weights["patch_embed.proj.weight"].shape[1]
    if layout != "image" and channels == COLOUR_CHANNELS:
        raise ValueError(f"expected patches of 1 channel for --layout {layout}, found {channels}; leave --layout out")
    conversion = LAYOUTS[layout](weights, options)
    _add_statistics(conversion, statistics)
    num_classes = conversion.arguments.get("num_classes", 0)
    if labels and len(labels) != num_classes:
        raise ValueError(
            f"expected labels for the {num_classes} classes of the head, found {len(labels)}"
            + ("" if num_classes else "; there is no head, convert it without labels")
        )
    return conversion.layout, _as_checkpoint(conversion, labels)


def _add_statistics(conversion: Conversion, statistics: Optional[tuple[np.ndarray, np.ndarray]]) -> None:
    has_own = STATISTICS[0] in conversion.weights
    if has_own and statistics:
        raise ValueError(f"expected no statistics for {conversion.layout}, found some; leave --statistics out")
    if not has_own and not statistics:
        raise ValueError(
            f"expected the log-mel statistics that {conversion.layout} was trained with, found none; "
            "its code has them in audioset/mean_std_128.npy: give that file as --statistics"
        )
    if statistics:
        # unchanged, not by `set_statistics`, which would raise small deviations
        conversion.weights.update((name, torch.as_tensor(values)) for name, values in zip(STATISTICS, statistics))


def _as_checkpoint(conversion: Conversion, labels: Sequence[Label]) -> dict[str, Any]:
    cls, task = MODELS[conversion.model]
    model = _with_weights(cls(**conversion.arguments), conversion)
    parameters = inspect.signature(cls).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items() if name != "num_classes"}
    model_cfg = {**defaults, **conversion.arguments, "_name": conversion.model}
    task_cfg = {
        "_name": task,
        "data": "",
        "sample_rate": model_cfg["sample_rate"],
        "clip_sec": conversion.clip_sec,
        "channel": "mix",
    }
    if cls is SpectrogramClassifier:
        model_cfg.update(
            pretrained="",
            label_keys=[label.key for label in labels],
            label_names=[label.name for label in labels],
        )
        task_cfg["target_is_multilabel"] = model_cfg["num_classes"] in MULTILABEL_CLASSES
    return {
        "args": None,
        "cfg": {"_name": None, "model": model_cfg, "task": task_cfg, "criterion": None},
        "model": model.state_dict(),
        # what fairseq expects in a checkpoint; here of a run that has not begun
        "optimizer_history": [{"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}],
        "task_state": {},
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
        "last_optimizer_state": None,
    }


def _with_weights(model: nn.Module, conversion: Conversion) -> nn.Module:
    expected = model.state_dict()
    missing = [to_their_name(name) for name in expected if name not in conversion.weights]
    left_over = [to_their_name(name) for name in conversion.weights if name not in expected]
    if missing or left_over:
        raise ValueError(
            f"expected the weights of {conversion.layout}, to which they come closest, found {len(left_over)} keys "
            f"that do not fit ({listed(left_over)}) and {len(missing)} missing ({listed(missing)})"
        )
    shapes = [
        f"{to_their_name(name)}: expected {tuple(value.shape)}, found {tuple(conversion.weights[name].shape)}"
        for name, value in expected.items()
        if value.shape != conversion.weights[name].shape
    ]
    if shapes:
        raise ValueError(f"expected the shapes of {conversion.layout}, found others ({listed(shapes)})")
    model.load_state_dict(conversion.weights)
    return model
