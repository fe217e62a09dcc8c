import math

import pytest
import torch

from maskspec_fairseq.modules.positions import sincos_positions


def test_values_are_the_sinusoids_of_row_and_column():
    rows, columns, width = 8, 62, 16
    positions = sincos_positions(rows, columns, width)
    assert positions.shape == (rows * columns, width)
    for row, column in [(0, 0), (3, 5), (7, 61)]:
        expected = []
        for coordinate in (column, row):  # time first, as in MAE
            angles = [coordinate / 10000 ** (k / (width // 4)) for k in range(width // 4)]
            expected += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        assert torch.allclose(positions[row * columns + column], torch.tensor(expected), atol=1e-6)


def test_a_shorter_clip_has_the_beginning_of_a_longer_ones_positions():
    short, long = sincos_positions(8, 12, 64).view(8, 12, 64), sincos_positions(8, 62, 64).view(8, 62, 64)
    assert torch.equal(short, long[:, :12])


def test_width_must_divide_by_four():
    with pytest.raises(ValueError, match="multiples of 4 for 2-D positions, found 18"):
        sincos_positions(2, 2, 18)
