"""Load a model from a checkpoint or an exported folder."""

import os
from typing import Optional

from maskspec_fairseq.checkpoints.read import check_model, read_checkpoint
from maskspec_fairseq.data_dir.labels import Label
from maskspec_fairseq.inference.audio_model import ARCHITECTURE, AudioModel, Layers, load_weights
from maskspec_fairseq.inference.export_folder import read_folder
from maskspec_fairseq.modules.pooling import FORMER_EMBEDDING_POOL
from maskspec_fairseq.registered_names import MODELS


def load_model(path: str, pool: Optional[str] = None, layers: Optional[Layers] = None) -> AudioModel:
    """Load a trained model, in eval mode on the CPU.

    A pretraining checkpoint gives a model without a head: its decoder is dropped. A head that was converted without the
    names of its classes is dropped, too.

    Args:
        path: a checkpoint of a run or of maskspec-convert, or a folder of maskspec-export.
        pool, layers: another embedding of the same encoder, see `AudioModel.read_out`; the head is dropped then. None
            for that of the checkpoint.

    Raises:
        ValueError: neither of them, weights that do not fit, an encoder without statistics, or a pooling or layers that
            it does not have.
        OSError: a file cannot be read.
    """
    model = read_folder(path) if os.path.isdir(path) else _read(path)
    return model if pool is None and layers is None else model.read_out(pool, layers)


def _read(path: str) -> AudioModel:
    """The model of a checkpoint."""
    state = read_checkpoint(path, MODELS)
    check_model(state, path)
    cfg, task = state["cfg"]["model"], state["cfg"]["task"]
    architecture = {name: cfg[name] for name in ARCHITECTURE if name in cfg}
    architecture.setdefault("pool", cfg.get("embedding_pool", FORMER_EMBEDDING_POOL))  # of a pretraining
    labels = [Label(*pair) for pair in zip(cfg.get("label_keys", ()), cfg.get("label_names", ()))]
    model = AudioModel(architecture, task["clip_sec"], task["channel"], labels, task.get("target_is_multilabel", False))
    dropped = ("decoder.",) if labels else ("decoder.", "head.")
    weights = {name: value for name, value in state["model"].items() if not name.startswith(dropped)}
    return load_weights(model, weights, path)


def load_labelled_model(path: str) -> AudioModel:
    """`load_model` for a model with a head.

    Raises:
        ValueError: see `load_model`; or a model without labels.
        OSError: see `load_model`.
    """
    model = load_model(path)
    if not model.labels:
        raise ValueError(
            f"{path}: expected a model with labels, found one without, as pretraining leaves it; finetune it "
            "(config/finetuning), or use maskspec-embed, which needs none"
        )
    return model
