"""Random numbers that depend on (seed, epoch, clip) and on nothing else.

A clip must become the same crop and the same mask whatever the batch size, the worker, the rank, or the update
that a run was resumed from, so every draw is made from a generator of its own.
"""

from typing import Sequence

import numpy as np

# One stream a purpose: a new kind of draw never shifts the others.
CROP, MASK, MEL_RANGE, REPLACEMENT, MIX_WAVEFORM, MIX_SPECTROGRAM = range(6)
ROLL, GAIN, SPEC_AUGMENT, PATCHOUT, DROP_PATH = range(6, 11)


def clip_rng(clip_key: Sequence[int], stream: int) -> np.random.Generator:
    """The generator of one clip for one purpose.

    Args:
        clip_key: (seed, epoch, index of the clip in its manifest), all >= 0.
        stream: what the numbers are for, one of the constants of this file.
    """
    seed, epoch, index = (int(part) for part in clip_key)
    return np.random.default_rng([seed, epoch, index, stream])
