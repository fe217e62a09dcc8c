import pytest
import torch
import torch.nn.functional as F

from maskspec_fairseq.modules.patches import patchify, unpatchify


@pytest.mark.parametrize("shape", [(2, 128, 992), (1, 32, 16), (3, 16, 48)])
def test_unpatchify_undoes_patchify(shape):
    spectrogram = torch.randn(shape)
    grid = (shape[1] // 16, shape[2] // 16)
    assert torch.equal(unpatchify(patchify(spectrogram, 16), grid), spectrogram)


def test_patches_are_those_of_a_sliding_window():
    spectrogram = torch.randn(2, 32, 64)
    windows = F.unfold(spectrogram[:, None], kernel_size=16, stride=16).transpose(1, 2)
    assert torch.equal(patchify(spectrogram, 16), windows)


def test_paper_grid_is_8_by_62():
    assert patchify(torch.zeros(1, 128, 992), 16).shape == (1, 8 * 62, 256)


def test_ragged_spectrogram_is_refused():
    with pytest.raises(ValueError, match="multiples of the patch size 16, found 128 x 1001"):
        patchify(torch.zeros(1, 128, 1001), 16)


@pytest.mark.parametrize("patches, grid", [((1, 6, 256), (2, 4)), ((1, 8, 250), (2, 4))])
def test_wrong_grid_is_refused(patches, grid):
    with pytest.raises(ValueError, match="expected 2 x 4 square patches"):
        unpatchify(torch.zeros(patches), grid)
