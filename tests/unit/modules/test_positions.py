import math

import pytest
import torch

from maskspec_fairseq.modules.positions import first_columns, interpolate_positions, sincos_positions


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


def test_first_columns_are_those_of_the_beginning():
    table = torch.arange(8 * 62 * 4.0).view(8, 62, 4)
    assert torch.equal(first_columns(table, 8, 62), table.view(-1, 4))
    assert torch.equal(first_columns(table, 8, 31), table[:, :31].reshape(-1, 4))


def cubic(distance: float) -> float:
    """Keys's kernel with a = -0.75, as torch and OpenCV have it."""
    x, a = abs(distance), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def test_other_grids_are_interpolated_by_cubic_convolution():
    table = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0))
    rows, columns = 4, 9
    found = interpolate_positions(table, rows, columns)

    def weights(length: int, size: int) -> torch.Tensor:
        matrix = torch.zeros(length, size)
        for i in range(length):
            centre = (i + 0.5) * size / length - 0.5
            for j in range(math.floor(centre) - 1, math.floor(centre) + 3):
                matrix[i, min(max(j, 0), size - 1)] += cubic(centre - j)
        return matrix

    expected = torch.einsum("ir,jc,rcd->ijd", weights(rows, 3), weights(columns, 5), table)
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.allclose(first_columns(table, rows, columns), expected.reshape(-1, 2), atol=1e-5)
    assert torch.allclose(interpolate_positions(table.half(), 4, 9).float(), expected, atol=2e-2)


def test_other_rows_leave_time_as_it_is():
    table = torch.randn(1, 1, 4).expand(3, 1, 4) * torch.arange(1.0, 6)[None, :, None]
    assert torch.allclose(first_columns(table, 8, 2).view(8, 2, 4), table[:1, :2].expand(8, -1, -1), atol=1e-5)


@pytest.mark.parametrize("rows, columns", [(8, 250), (1, 250), (2, 12), (8, 62)])
def test_positions_are_timms_in_our_order(rows, columns):
    """timm has the sines of both axes first; ours are those of time first, as in MAE."""
    layers = pytest.importorskip("timm.layers")
    width = 32
    theirs = layers.build_sincos2d_pos_embed([rows, columns], width).unflatten(1, (2, 2, width // 4))
    row, column = theirs.unbind(2)  # (L, sine and cosine, D / 4) each
    expected = torch.cat([column.flatten(1), row.flatten(1)], dim=1)
    torch.testing.assert_close(sincos_positions(rows, columns, width), expected, atol=1e-4, rtol=0)
