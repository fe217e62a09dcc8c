"""Read a training checkpoint without fairseq and without running code from it."""

from typing import Any, Dict, Tuple

import torch

from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder


def load_autoencoder(path: str) -> Tuple[MaskedAutoencoder, Dict[str, Any]]:
    """The model of a pretraining checkpoint, in eval mode on the CPU, and the checkpoint's config.

    Raises:
        ValueError: the file is no checkpoint of the model `maskspec`, or holds more than data.
        OSError: there is no such file.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch's reader raises IndexError and KeyError, too, on what is no checkpoint
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path}: expected a checkpoint of a maskspec run, found: {reason}") from error
    cfg = state.get("cfg") if isinstance(state, dict) else None
    name = (cfg or {}).get("model", {}).get("_name")
    if name != "maskspec":
        raise ValueError(f"{path}: expected a checkpoint of the model 'maskspec', found {name!r}")
    model = MaskedAutoencoder.from_config(cfg["model"])
    model.load_state_dict(state["model"])
    return model.eval(), cfg
