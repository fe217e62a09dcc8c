"""Masked spectrogram prediction (MaskSpec, arXiv:2204.12768) as a fairseq plugin.

fairseq loads a plugin by importing its directory, and that registers everything. Where fairseq has not been imported
(manifests, statistics, pictures), importing this package is cheap and leaves it alone.
"""

import sys

__version__ = "0.2.0"


def load_model(path: str):
    """A trained model to use without fairseq; see `maskspec_fairseq.inference.load.load_model`."""
    from maskspec_fairseq.inference import load

    return load.load_model(path)


if "fairseq" in sys.modules:
    from maskspec_fairseq import criterions, models, optim, tasks  # noqa: F401
