"""From a checkpoint or an exported folder to a model to use."""

import os

from maskspec_fairseq.checkpoints.read import read_checkpoint
from maskspec_fairseq.data_dir.labels import Label
from maskspec_fairseq.inference.audio_model import ARCHITECTURE, AudioModel, with_weights
from maskspec_fairseq.inference.export_folder import read_folder
from maskspec_fairseq.registered_names import MODELS


def load_model(path: str) -> AudioModel:
    """A model to use, in eval mode on the CPU, from a checkpoint of a run or a folder of maskspec-export.

    A pretraining checkpoint gives a model without a head, and its decoder stays behind. So does a head that was
    converted without the names of its classes.

    Raises:
        ValueError: neither of them, weights that do not fit, or an encoder without statistics.
        OSError: a file cannot be read.
    """
    if os.path.isdir(path):
        return read_folder(path)
    state = read_checkpoint(path, MODELS)
    cfg, task = state["cfg"]["model"], state["cfg"]["task"]
    architecture = {name: cfg[name] for name in ARCHITECTURE if name in cfg}
    labels = [Label(*pair) for pair in zip(cfg.get("label_keys", ()), cfg.get("label_names", ()))]
    model = AudioModel(architecture, task["clip_sec"], task["channel"], labels, task.get("target_is_multilabel", False))
    # a head whose classes nobody has named stays behind, too
    left_behind = ("decoder.",) if labels else ("decoder.", "head.")
    weights = {name: value for name, value in state["model"].items() if not name.startswith(left_behind)}
    return with_weights(model, weights, path)
