"""Load a model from a checkpoint or an exported folder, here or on the Hugging Face Hub."""

import os
import re
from typing import Optional, Union

from maskspec_fairseq.checkpoints.check import ARCHITECTURE
from maskspec_fairseq.checkpoints.exported import CONFIG_FILE, WEIGHTS_FILE, shipped_folders, shipped_weights
from maskspec_fairseq.checkpoints.read import check_model, read_checkpoint
from maskspec_fairseq.data_dir.labels import Label
from maskspec_fairseq.inference.audio_model import AudioModel, Layers, load_weights
from maskspec_fairseq.inference.export_folder import read_folder
from maskspec_fairseq.modules.pooling import FORMER_EMBEDDING_POOL
from maskspec_fairseq.registered_names import MODELS

# ORGANISATION/NAME; a name that ends like a checkpoint is taken for a path
HUB_NAME = re.compile(r"[\w.-]+/(?!.*\.pt$)[\w.-]+")


def load_model(
    path: Union[str, os.PathLike], pool: Optional[str] = None, layers: Optional[Layers] = None
) -> AudioModel:
    """Load a trained model, in eval mode on the CPU.

    A pretraining checkpoint gives a model without a head: its decoder is dropped. A head that was converted without the
    names of its classes is dropped, too.

    Args:
        path: a checkpoint of a run or of maskspec-convert, or a folder of maskspec-export. If there is no such path
            here: the name of weights that come with the package, such as maskspec_tiny_free, or of an exported folder
            on the Hugging Face Hub, ORGANISATION/NAME.
        pool, layers: another embedding of the same encoder, see `AudioModel.read_out`; the head is dropped then. None
            for that of the checkpoint.

    Raises:
        ValueError: none of them, weights that do not fit, an encoder without statistics, or a pooling or layers that
            it does not have; or a download fails.
        ImportError: a name on the Hub, and huggingface_hub is not installed.
        OSError: a file cannot be read.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        path = shipped_weights(path) or _download(path)
    model = read_folder(path) if os.path.isdir(path) else _read(path)
    return model if pool is None and layers is None else model.read_out(pool, layers)


def _download(name: str) -> str:
    """The local copy of an exported folder on the Hugging Face Hub.

    Raises:
        ImportError, ValueError: see `load_model`.
    """
    if not HUB_NAME.fullmatch(name):
        raise ValueError(
            f"{name}: expected a checkpoint of a maskspec run, found no such file; correct the path, or name weights "
            f"that come with the package, which have no labels ({', '.join(shipped_folders())})"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ImportError(
            f"{name}: expected a checkpoint or a folder, found no such path, and no huggingface_hub to download a "
            f"model of that name ({error}); correct the path, or pip install huggingface_hub"
        ) from error
    try:
        return snapshot_download(name, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE])
    except Exception as error:  # of its HTTP library, too, which differs from version to version
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ValueError(
            f"{name}: expected a checkpoint or a folder here, or a model of that name on the Hugging Face Hub, found "
            f"no such path, and its download failed: {reason.rstrip('.')}; correct the name, or check the connection"
        ) from error


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
