"""Random numbers that depend on (seed, epoch, clip) and on nothing else.

A clip must get the same crop and the same mask whatever the batch size, the worker, the rank, or the update that a run
was resumed from. Every draw therefore comes from a generator of its own.
"""

from collections.abc import Sequence
from typing import Optional

import numpy as np

# One stream per purpose, so that a new kind of draw never shifts the others. A number that changes, changes every crop
# and mask of a seed.
CROP = 0
MASK = 1
MEL_RANGE = 2
REPLACEMENT = 3
MIX_WAVEFORM = 4
MIX_SPECTROGRAM = 5
ROLL = 6
GAIN = 7
SPEC_AUGMENT = 8
PATCHOUT = 9
DROP_PATH = 10
DECODED = 11


def clip_rng(clip_key: Sequence[int], stream: int) -> np.random.Generator:
    """The generator of one clip for one purpose.

    Args:
        clip_key: (seed, epoch, index of the clip in its manifest), all >= 0.
        stream: what the numbers are for, one of the constants of this file.
    """
    seed, epoch, index = (int(part) for part in clip_key)
    return np.random.default_rng([seed, epoch, index, stream])


def check_clip_keys(clip_keys: Optional[np.ndarray], purpose: str) -> np.ndarray:
    """The keys of a batch, (B, 3), that a draw needs.

    Args:
        purpose: the setting that draws, for the message.

    Raises:
        ValueError: there are none.
    """
    if clip_keys is None:
        raise ValueError(f"expected the clips' keys (seed, epoch, clip) for {purpose} in training, found none")
    return clip_keys
