"""What makes an exported folder one of Hugging Face transformers: `auto_map`, a feature extractor, stub, model card.

The classes are in `maskspec_fairseq.integrations.transformers`; the stub, which `trust_remote_code=True` runs, imports
them from there. transformers is not needed here. Page: docs/transformers.md.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

import torch

from maskspec_fairseq.atomic_write import write_together
from maskspec_fairseq.checkpoints.exported import CONFIG_FILE
from maskspec_fairseq.checkpoints.read import read_checkpoint
from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.inference.export_folder import folder_config, write_folder
from maskspec_fairseq.registered_names import FINETUNING_MODEL, MODELS

PREPROCESSOR_FILE = "preprocessor_config.json"
STUB_FILE = "modeling_maskspec.py"
CARD_FILE = "README.md"
PADDING_VALUE = 0.0  # silence
EXTRACTOR = "MaskSpecFeatureExtractor"
CLASSES = {
    "AutoConfig": "MaskSpecConfig",
    "AutoModel": "MaskSpecModel",
    "AutoModelForAudioClassification": "MaskSpecForAudioClassification",
    "AutoModelForPreTraining": "MaskSpecForPreTraining",
}
_STUB = Path(STUB_FILE).stem
AUTO_MAP = {auto: f"{_STUB}.{name}" for auto, name in CLASSES.items()}
EXTRACTOR_AUTO_MAP = {"AutoFeatureExtractor": f"{_STUB}.{EXTRACTOR}"}
NAMES = "".join(f"        {name},\n" for name in sorted((*CLASSES.values(), EXTRACTOR)))
STUB = f'''"""Where transformers finds the classes of this model; they are in the package maskspec-fairseq."""

try:
    from maskspec_fairseq.integrations.transformers import (  # noqa: F401
{NAMES}    )
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("maskspec_fairseq"):
        raise
    raise ImportError(
        "expected the package maskspec-fairseq, which has the classes of this model, found none; get a checkout of it, "
        "and pip install 'CHECKOUT[transformers]'"
    ) from None
'''
UNKNOWN = "unknown"


def write_transformers(
    model: AudioModel, directory: str, checkpoint: Optional[str] = None, dtype: torch.dtype = torch.float32
) -> bool:
    """Write a folder that the Auto classes and pipelines of transformers load, and `load_model` as before.

    A model card that is there already is left alone: somebody may have filled it in.

    Args:
        model: on any device.
        directory: the folder, created if missing.
        checkpoint: what the model was loaded from, for what the card says of its training; None if it is not known.
        dtype: of the weights, see `write_folder`.

    Returns:
        Whether a model card was written.

    Raises:
        OSError: it cannot be written.
    """
    config = {
        **folder_config(model),
        "architectures": [CLASSES["AutoModelForAudioClassification" if model.labels else "AutoModel"]],
        "auto_map": AUTO_MAP,
        "dtype": "float32",  # when loaded, whatever it is in the file
    }
    files = {CONFIG_FILE: config, PREPROCESSOR_FILE: extractor_config(model.sample_rate)}
    texts = {name: json.dumps(content, indent=1, ensure_ascii=False) + "\n" for name, content in files.items()}
    texts[STUB_FILE] = STUB
    new_card = not os.path.exists(os.path.join(directory, CARD_FILE))
    if new_card:
        texts[CARD_FILE] = model_card(model, training_of(checkpoint))
    write_folder(model, directory, dtype)

    def writer(text: str):
        return lambda path: path.write_text(text, encoding="utf-8")

    write_together(directory, {name: writer(text) for name, text in texts.items()})
    return new_card


def extractor_config(sample_rate: int) -> dict[str, Any]:
    """The content of `preprocessor_config.json`."""
    return {
        "feature_extractor_type": EXTRACTOR,
        "auto_map": EXTRACTOR_AUTO_MAP,
        "feature_size": 1,
        "sampling_rate": sample_rate,
        "padding_value": PADDING_VALUE,
        "padding_side": "right",
        "return_attention_mask": True,
    }


def training_of(checkpoint: Optional[str]) -> dict[str, str]:
    """What a checkpoint says of its own training, by the words of the model card; nothing for a folder or None.

    Raises:
        ValueError, OSError: see `read_checkpoint`.
    """
    if checkpoint is None or not os.path.isfile(checkpoint):
        return {}
    state = read_checkpoint(checkpoint, MODELS)
    cfg, extra = state["cfg"], state.get("extra_state") or {}
    finetuned = cfg["model"]["_name"] == FINETUNING_MODEL
    facts = {"training": "finetuning" if finetuned else "pretraining (the decoder is left out)"}
    history = state.get("optimizer_history")
    if history:
        facts["training"] += f", {history[-1]['num_updates']} updates"
    metric, subset = (
        _text(cfg, group, name)
        for group, name in (("checkpoint", "best_checkpoint_metric"), ("dataset", "valid_subset"))
    )
    value = extra.get("val_loss")
    if finetuned and metric and subset and isinstance(value, float):
        facts["figure"] = f"{metric} {value:.4f} on the subset `{subset}`, measured by the training itself"
    return facts


def _text(cfg: Mapping[str, Any], group: str, name: str) -> str:
    """A text of a checkpoint's config, or ""."""
    value = (cfg.get(group) or {}).get(name)
    return value if isinstance(value, str) else ""


def model_card(model: AudioModel, training: Mapping[str, str]) -> str:
    """The text of `README.md`: what the model is, how to use it, and what its checkpoint does not say.

    Args:
        training: of `training_of`.
    """
    encoder, front_end = model.network.encoder, model.network.front_end
    bins, frames = model.network.patch_size
    task = "pipeline_tag: audio-classification\n" if model.labels else ""
    rows = {
        "model": f"MaskSpec ([arXiv:2204.12768](https://arxiv.org/abs/2204.12768)), encoder of width "
        f"{encoder.embed_dim}, {len(encoder.blocks)} layers, "
        f"{sum(weight.numel() for weight in model.network.parameters()):,} parameters",
        "training": training.get("training", UNKNOWN),
        "training data": UNKNOWN,
        "licence of the weights": UNKNOWN,
        "measured figures": training.get("figure", UNKNOWN),
        "input": f"waveforms at {model.sample_rate} Hz, one channel, full scale 1; longer ones are cut into windows of "
        f"{model.clip_sec:g} s, the length of clips in its training",
        "front end": f"`{front_end.params.name}`: log-mel of {front_end.n_mels} bins, {front_end.params.f_min:g} to "
        f"{front_end.params.f_max:g} Hz, a frame every {1000 * front_end.hop_length / model.sample_rate:g} ms; patches "
        f"of {bins} bins x {frames} frames",
        "embedding": f"{model.embed_dim} numbers per clip, pooling `{model.architecture['pool']}`"
        + (f" of layers {', '.join(map(str, model.layers))}" if model.layers else ""),
        "labels": _labels(model),
    }
    table = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    return f"""---
library_name: transformers
{task}tags:
- audio
- maskspec
---

# MaskSpec{" for audio classification" if model.labels else ""}

| | |
|---|---|
{table}
What is unknown, the checkpoint does not say: write it here before you publish the model. The labels are the only sounds
that it was trained to tell apart, and figures hold for recordings like those that they were measured on.

## Use

It needs the package maskspec-fairseq with its extra `transformers`. `trust_remote_code=True` runs `{STUB_FILE}`, which
does nothing but import that package.

```python
{_usage(model)}
```

Without transformers: `maskspec_fairseq.load_model(FOLDER)`.
"""


def _labels(model: AudioModel) -> str:
    if not model.labels:
        return "none: it has no head, finetune it"
    kind = "any number of them per clip" if model.target_is_multilabel else "one of them per clip"
    names = ", ".join(label.name.replace("|", "\\|") for label in model.labels)
    return f"{len(model.labels)}, {kind}: {names}"


def _usage(model: AudioModel) -> str:
    if model.labels:
        return f"""from transformers import pipeline

classifier = pipeline("audio-classification", model=FOLDER, trust_remote_code=True)
classifier({{"array": waveform, "sampling_rate": {model.sample_rate}}})  # a numpy array of floats, (T,)"""
    return f"""from transformers import AutoFeatureExtractor, AutoModel

extractor = AutoFeatureExtractor.from_pretrained(FOLDER, trust_remote_code=True)
model = AutoModel.from_pretrained(FOLDER, trust_remote_code=True)
inputs = extractor([waveform], sampling_rate={model.sample_rate}, return_tensors="pt")  # arrays of floats, (T,)
embedding = model(**inputs).pooler_output  # (B, {model.embed_dim})"""
