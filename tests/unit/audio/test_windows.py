"""Windows of a waveform, whatever the pieces that it arrives in."""

import numpy as np
import pytest

from maskspec_fairseq.audio.windows import cut, cut_evenly

each_piece = pytest.mark.parametrize("piece", [1, 6, 100])


def in_pieces(length, piece):
    waveform = np.arange(length, dtype=np.float32)
    return (waveform[start : start + piece] for start in range(0, length, piece))


@pytest.mark.parametrize(
    "length, starts, ends",
    [(7, [0], [7]), (10, [0], [10]), (11, [0, 4], [10, 11]), (14, [0, 4], [10, 14]), (15, [0, 4, 8], [10, 14, 15])],
)
@each_piece
def test_windows_continue_up_to_the_first_that_reaches_the_end(length, starts, ends, piece):
    found = list(cut(in_pieces(length, piece), 10, 4))
    assert [window.start for window in found] == starts and [window.end for window in found] == ends
    for window in found:
        assert window.samples.tolist() == list(range(window.start, window.end))


@pytest.mark.parametrize(
    "length, starts",
    [(7, [0]), (10, [0]), (14, [0, 4]), (20, [0, 10]), (25, [0, 10, 15]), (30, [0, 10, 20]), (31, [0, 10, 20, 21])],
)
@each_piece
def test_the_last_even_window_is_full_and_ends_with_the_waveform(length, starts, piece):
    found = list(cut_evenly(in_pieces(length, piece), 10))
    assert [window.start for window in found] == starts and found[-1].end == length
    for window in found:
        assert window.samples.tolist() == list(range(window.start, min(length, window.start + 10)))
