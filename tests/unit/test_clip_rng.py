import itertools

import numpy as np
import pytest

from maskspec_fairseq import clip_rng
from maskspec_fairseq.clip_rng import check_clip_keys

STREAMS = {
    "CROP": 0, "MASK": 1, "MEL_RANGE": 2, "REPLACEMENT": 3, "MIX_WAVEFORM": 4, "MIX_SPECTROGRAM": 5, "ROLL": 6,
    "GAIN": 7, "SPEC_AUGMENT": 8, "PATCHOUT": 9, "DROP_PATH": 10, "DECODED": 11,
}  # fmt: skip


def test_streams_keep_their_numbers():
    """A number that changes, changes every crop and mask of a seed; a new stream is added here."""
    assert {name: value for name, value in vars(clip_rng).items() if name.isupper()} == STREAMS


def test_draws_keep_their_values():
    """numpy promises it (NEP 19 for bit generators and seeding); a change would change every run."""
    rng = clip_rng.clip_rng((1, 2, 3), clip_rng.MASK)
    assert rng.bit_generator.random_raw(3).tolist() == [
        13379306610124585501,
        14588408683930809610,
        17789760435835567844,
    ]


def test_seed_epoch_clip_and_stream_each_change_the_draws():
    keys = itertools.product((1, 2), (1, 2), (0, 1), STREAMS.values())
    draws = {clip_rng.clip_rng(key, stream).integers(2**62) for *key, stream in keys}
    assert len(draws) == 2 * 2 * 2 * len(STREAMS)


def test_a_draw_that_needs_keys_says_so():
    keys = np.array([[1, 1, 0]])
    assert check_clip_keys(keys, "mel_jitter") is keys
    with pytest.raises(ValueError, match=r"keys \(seed, epoch, clip\) for mel_jitter in training, found none"):
        check_clip_keys(None, "mel_jitter")
