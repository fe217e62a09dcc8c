"""Batches of waveforms, before a model hears them."""

import pytest
import torch

from maskspec_fairseq.inference.waveforms import cut_windows


@pytest.mark.parametrize(
    "length, hop, starts",
    [
        (10, 10, [0]), (14, 10, [0, 4]), (20, 10, [0, 10]), (25, 10, [0, 10, 15]), (30, 10, [0, 10, 20]),
        (20, 4, [0, 4, 8, 10]), (12, 1, [0, 1, 2]),
    ],
)  # fmt: skip
def test_each_sample_is_in_a_window_and_the_last_one_ends_with_the_clip(length, hop, starts):
    waveform = torch.arange(length)
    windows = cut_windows(torch.stack([waveform, -waveform]), 10, hop)
    assert windows.shape == (2, len(starts), 10) and windows[0, :, 0].tolist() == starts
    assert (windows.diff(dim=2)[0] == 1).all() and torch.equal(windows[1], -windows[0])
    assert set(windows[0].flatten().tolist()) == set(range(length))


def test_a_clip_shorter_than_a_window_is_padded():
    assert cut_windows(torch.ones(1, 3), 5, 5).tolist() == [[[1, 1, 1, 0, 0]]]
