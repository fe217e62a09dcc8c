"""Read a training checkpoint without fairseq and without running code from it."""

from typing import Any, Dict, Tuple

import torch

from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder


def load_autoencoder(path: str) -> Tuple[MaskedAutoencoder, Dict[str, Any]]:
    """The model of a pretraining checkpoint, in eval mode on the CPU, and the checkpoint's config.

    Raises:
        ValueError: the file is no checkpoint of the model `maskspec`.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    cfg = state.get("cfg") if isinstance(state, dict) else None
    name = (cfg or {}).get("model", {}).get("_name")
    if name != "maskspec":
        raise ValueError(f"{path}: expected a checkpoint of the model 'maskspec', found {name!r}")
    model = MaskedAutoencoder.from_config(cfg["model"])
    model.load_state_dict(state["model"])
    return model.eval(), cfg
