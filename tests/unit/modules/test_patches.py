import pytest
import torch
import torch.nn.functional as F

from maskspec_fairseq.modules.patches import patch_shape, patchify, simplest_patch_size, unpatchify

SHAPES = [(16, 16), (16, 8), (16, 4), (64, 4), (128, 2), (4, 16), (1, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", [(2, 128, 992), (1, 128, 16), (3, 128, 48)], ids=str)
def test_unpatchify_undoes_patchify(shape, size):
    spectrogram = torch.randn(size)
    grid = (size[1] // shape[0], size[2] // shape[1])
    patches = patchify(spectrogram, shape)
    assert patches.shape == (size[0], grid[0] * grid[1], shape[0] * shape[1])
    assert torch.equal(unpatchify(patches, grid, shape), spectrogram)


@pytest.mark.parametrize("shape", [*SHAPES, (80, 4)], ids=str)
def test_patches_are_those_of_a_sliding_window(shape):
    """Another order of rows and columns, or of the values, is another result."""
    spectrogram = torch.randn(2, 80 if shape[0] == 80 else 128, 64)
    windows = torch.nn.Unfold(kernel_size=shape, stride=shape)(spectrogram[:, None]).transpose(1, 2)
    assert torch.equal(patchify(spectrogram, shape), windows)


def test_a_number_means_squares():
    spectrogram = torch.randn(2, 32, 64)
    patches = F.unfold(spectrogram[:, None], kernel_size=16, stride=16).transpose(1, 2)
    assert torch.equal(patchify(spectrogram, 16), patches)
    assert torch.equal(unpatchify(patches, (2, 4)), spectrogram)


def test_paper_grid_is_8_by_62():
    assert patchify(torch.zeros(1, 128, 992), 16).shape == (1, 8 * 62, 256)


@pytest.mark.parametrize(
    "frames, patch_size, message",
    [
        (1001, 16, "multiples of the patch size 16 x 16, found 128 x 1001"),
        (1001, (16, 4), "multiples of the patch size 16 x 4, found 128 x 1001"),
        (1000, (80, 4), "multiples of the patch size 80 x 4, found 128 x 1000"),
    ],
)
def test_ragged_spectrogram_is_refused(frames, patch_size, message):
    with pytest.raises(ValueError, match=message):
        patchify(torch.zeros(1, 128, frames), patch_size)


@pytest.mark.parametrize("patches, grid", [((1, 6, 256), (2, 4)), ((1, 8, 250), (2, 4))])
def test_wrong_grid_is_refused(patches, grid):
    with pytest.raises(ValueError, match="expected 2 x 4 square patches"):
        unpatchify(torch.zeros(patches), grid)


@pytest.mark.parametrize("patches", [(1, 6, 64), (1, 8, 256)])
def test_patches_of_another_shape_are_not_put_together(patches):
    with pytest.raises(ValueError, match=rf"expected 2 x 4 patches of 16 x 4, found {patches[1]} patches of"):
        unpatchify(torch.zeros(patches), (2, 4), (16, 4))


@pytest.mark.parametrize("patch_size", [16, (16, 16), [16, 16], "16", "[16, 16]", "16,16"])
def test_a_square_is_a_number_in_configs(patch_size):
    simplest = simplest_patch_size(patch_size)
    assert simplest == 16 and type(simplest) is int and patch_shape(simplest) == (16, 16)


@pytest.mark.parametrize("patch_size", [(16, 4), [16, 4], "[16,4]", "16,4", "(16, 4)"])
def test_another_rectangle_is_a_list_in_configs(patch_size):
    simplest = simplest_patch_size(patch_size)
    assert simplest == [16, 4] and type(simplest) is list and patch_shape(simplest) == (16, 4)


@pytest.mark.parametrize(
    "patch_size", [0, -4, 16.0, True, None, [], [16], [16, 4, 1], [16, 0], [16, 4.0], [True, 4], "", "square", "16 4"]
)
def test_what_is_not_one_or_two_whole_numbers_is_refused(patch_size):
    message = r"expected model.patch_size as \[bins, frames\], two whole numbers, or .*; write model.patch_size="
    with pytest.raises(ValueError, match=message):
        simplest_patch_size(patch_size)
    with pytest.raises(ValueError, match=message):
        patch_shape(patch_size)
