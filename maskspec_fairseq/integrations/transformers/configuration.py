"""The config of an exported folder as one of transformers."""

import inspect
import os
from pathlib import Path
from typing import Any, Union

from transformers import PretrainedConfig

from maskspec_fairseq.checkpoints.check import ARCHITECTURE, MODEL
from maskspec_fairseq.checkpoints.exported import (
    FIELDS,
    MODEL_TYPE,
    OF_LABELS,
    PROBLEM_TYPES,
    TRANSFORMERS_NAMES,
    read_config,
)
from maskspec_fairseq.fields import check_fields
from maskspec_fairseq.inference.export_transformers import AUTO_MAP, STUB, STUB_FILE
from maskspec_fairseq.modules.classifier import SpectrogramClassifier
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.modules.pooling import ATTENTION


def _defaults(module: type, names: Any) -> dict[str, Any]:
    parameters = inspect.signature(module).parameters
    return {name: parameters[name].default for name in names}


# Arguments of `MaskedAutoencoder` that an exported folder does not have.
PRETRAINING = tuple(name for name in inspect.signature(MaskedAutoencoder).parameters if name not in ARCHITECTURE)
# What follows from other fields; `max_length` would also be taken for a setting of text generation.
DERIVED = (
    "hidden_act", "qkv_bias", "layer_norm_eps", "num_mel_bins", "frequency_stride", "time_stride", "max_length",
)  # fmt: skip
DEFAULTS: dict[str, Any] = {
    **{
        TRANSFORMERS_NAMES.get(name, name): value
        for name, value in _defaults(SpectrogramClassifier, ARCHITECTURE).items()
    },
    "clip_sec": 10.0,
    "channel": "mix",
    "layers": [],
    "label_keys": [],
    **_defaults(MaskedAutoencoder, PRETRAINING),
}


class MaskSpecConfig(PretrainedConfig):
    """The fields of an exported folder's `config.json`, and those of a pretraining.

    Args:
        **kwargs: the fields of `checkpoints.exported.FIELDS` (`hidden_size`, `num_hidden_layers`, `front_end`,
            `sampling_rate`, `clip_sec`, `pool`, ...); the other arguments of `MaskedAutoencoder` (`mask_ratio`,
            `decoder_layers`, ...), which `MaskSpecForPreTraining` alone uses; and those of `PretrainedConfig`
            (`id2label`, `problem_type`, ...). Those that are not given are the paper's base model. Fields that follow
            from others, such as `max_length`, are left out.

    Raises:
        ValueError: a field outside its range, or labels that do not go together.
    """

    model_type = MODEL_TYPE

    def __init__(self, **kwargs: Any) -> None:
        fields = {name: kwargs.pop(name, default) for name, default in DEFAULTS.items()}
        for name in DERIVED:
            kwargs.pop(name, None)
        if kwargs.get("num_labels") not in (None, len(fields["label_keys"])):
            fields["label_keys"] = []  # other classes are asked for than those of the file
        kwargs["auto_map"] = dict(AUTO_MAP)
        names = kwargs.get("id2label")
        if names is not None and not OF_LABELS["id2label"].accepts(names):
            check_fields({"id2label": names}, OF_LABELS, "config.json")
        super().__init__(**kwargs)
        for name, value in fields.items():  # after `id2label`, which takes the keys of other labels away
            setattr(self, name, list(value) if isinstance(value, tuple) else value)
        self.model_arguments()

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "id2label" and value != getattr(self, "id2label", None):
            super().__setattr__("label_keys", [])  # they are those of the classes before
        super().__setattr__(name, value)

    def model_arguments(self) -> dict[str, Any]:
        """The arguments of `AudioModel`, with labels if there are `label_keys`.

        Raises:
            ValueError: see `MaskSpecConfig`.
        """
        fields = {name: getattr(self, name) for name in FIELDS if name not in OF_LABELS}
        check_fields({"label_keys": self.label_keys}, OF_LABELS, "config.json")
        if self.label_keys:
            names = {str(number): name for number, name in self.id2label.items()}
            fields.update(label_keys=self.label_keys, problem_type=self.problem_type, id2label=names)
        return read_config({"model_type": MODEL_TYPE, **fields}, "config.json")

    def pretraining_arguments(self) -> dict[str, Any]:
        """The arguments of `MaskedAutoencoder`.

        Raises:
            ValueError: a field outside its range.
        """
        fields = {name: getattr(self, name) for name in PRETRAINING}
        check_fields(fields, MODEL, "config.json")
        architecture = self.model_arguments()["architecture"]
        names = inspect.signature(MaskedAutoencoder).parameters
        return {**fields, **{name: value for name, value in architecture.items() if name in names}}

    def name_labels(self) -> None:
        """Give the classes of `id2label` keys, and the default `problem_type`, where there are none."""
        keys = self.label_keys or [name for _, name in sorted(self.id2label.items())]
        self.update({"label_keys": keys, "problem_type": self.problem_type or PROBLEM_TYPES[False]})

    def drop_head(self) -> None:
        """Leave out what is said of a head, and the pooling that is trained with it."""
        pool = DEFAULTS["pool"] if self.pool == ATTENTION else self.pool
        self.update({"label_keys": [], "head": DEFAULTS["head"], "pool": pool})

    def to_diff_dict(self) -> dict[str, Any]:
        """The content of `config.json`: `load_model` reads it, too, and needs every field."""
        content = super().to_diff_dict()
        if self.label_keys:
            content.update(problem_type=self.problem_type, id2label=dict(self.id2label))
        else:
            for name in ("label_keys", "problem_type", "id2label", "label2id"):
                content.pop(name, None)
        return content

    def save_pretrained(self, save_directory: Union[str, "os.PathLike[str]"], *args: Any, **kwargs: Any) -> None:
        """As theirs; the stub that `auto_map` names is written next to it."""
        super().save_pretrained(save_directory, *args, **kwargs)
        Path(save_directory, STUB_FILE).write_text(STUB, encoding="utf-8")

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = "AutoConfig") -> None:
        """Nothing: transformers would copy this file into every saved folder; the stub imports it instead."""
