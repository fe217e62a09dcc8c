"""Masked spectrogram prediction (MaskSpec, arXiv:2204.12768) as a fairseq plugin, and as plain torch.

fairseq loads a plugin by importing its directory, and that registers everything. Where fairseq has not been imported
(manifests, statistics, pictures), importing this package is cheap: neither fairseq nor torch is imported.
"""

import sys
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from maskspec_fairseq.inference.audio_model import AudioModel, Layers
    from maskspec_fairseq.modules.masked_autoencoder import maskspec_base, maskspec_small, maskspec_tiny

__version__ = "0.3.0.dev0"

__all__ = ["__version__", "load_model", "maskspec_base", "maskspec_small", "maskspec_tiny"]


def load_model(path: str, pool: Optional[str] = None, layers: "Optional[Layers]" = None) -> "AudioModel":
    """A trained model to use without fairseq; see `maskspec_fairseq.inference.load.load_model`."""
    from maskspec_fairseq.inference import load

    return load.load_model(path, pool, layers)


def __getattr__(name: str) -> Any:
    """The factories of models, with torch, when they are first asked for (PEP 562)."""
    if name in ("maskspec_base", "maskspec_small", "maskspec_tiny"):
        from maskspec_fairseq.modules import masked_autoencoder

        return getattr(masked_autoencoder, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if "fairseq" in sys.modules:
    from maskspec_fairseq import criterions, models, optim, tasks  # noqa: F401
