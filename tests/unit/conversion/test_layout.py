"""Which layout a file has, where its weights tell, and a refusal where they do not."""

import numpy as np
import pytest
import torch

from maskspec_fairseq.cli.convert import main
from maskspec_fairseq.conversion.layout import find_layout
from tests.factories import load_classifier
from tests.unit.conversion.originals import Mae, finetuned, randomise, write_statistics


@pytest.fixture()
def statistics(tmp_path) -> str:
    return write_statistics(tmp_path / "s.npy", np.zeros(128, np.float32), np.ones(128, np.float32))


def convert(tmp_path, weights, *flags) -> int:
    torch.save({"model": weights}, tmp_path / "in.pth")
    return main([str(tmp_path / "in.pth"), "--out", str(tmp_path / "out.pt"), *flags])


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("length", [4, 6, 16, 31, 32, 62, 64])
def test_positions_that_were_trained_still_tell_the_order_of_the_patches(length, noise):
    assert find_layout(finetuned((8, length), 5, noise).state_dict()) == "maskspec"
    assert find_layout(finetuned((length, 8), 5, noise).state_dict()) == "audiomae"


def test_statistics_do_not_make_a_trained_audiomae_a_maskspec(tmp_path, statistics, capsys):
    weights = finetuned((64, 8), 5, noise=0.1).state_dict()
    assert convert(tmp_path, weights, "--statistics", statistics) == 2
    assert "expected no statistics for AudioMAE, finetuned, found some" in capsys.readouterr().err
    assert convert(tmp_path, weights) == 0
    model, cfg = load_classifier(str(tmp_path / "out.pt"))
    assert cfg["model"]["position_grid"] == [8, 64] and cfg["model"]["front_end"] == "audiomae"
    assert torch.equal(model.encoder.learned_positions.view(8, 64, -1)[3, 5], weights["pos_embed"][0, 1 + 5 * 8 + 3])


def test_a_decoder_of_windows_is_audiomaes_whatever_the_positions():
    weights = randomise(Mae((64, 8))).state_dict()
    weights["pos_embed"] = torch.randn_like(weights["pos_embed"])
    weights["decoder_blocks.0.attn.relative_position_bias_table"] = torch.zeros(49, 16)
    assert find_layout(weights) == "audiomae"


@pytest.mark.parametrize("case", ["trained from noise", "square"])
def test_where_the_file_cannot_tell_the_user_does(tmp_path, statistics, capsys, case):
    """A grid of 8 x 8 has the same sinusoids in both orders."""
    weights = finetuned((8, 8), 5, noise=0.0).state_dict()
    if case == "trained from noise":
        weights = finetuned((8, 62), 5, noise=0.0).state_dict()
        weights["pos_embed"] = torch.randn(weights["pos_embed"].shape, generator=torch.Generator().manual_seed(0))
    for flags in ([], ["--statistics", statistics]):
        assert convert(tmp_path, weights, *flags) == 2
        error = capsys.readouterr().err
        assert "in.pth: expected positions near the sinusoids of either MaskSpec or AudioMAE, found a simil" in error
        assert "--layout maskspec or --layout audiomae" in error and not (tmp_path / "out.pt").exists()
    assert convert(tmp_path, weights, "--layout", "audiomae") == 0
    assert "AudioMAE, finetuned: 2 blocks" in capsys.readouterr().out
    assert convert(tmp_path, weights, "--layout", "maskspec") == 2
    assert "give that file as --statistics" in capsys.readouterr().err
    assert convert(tmp_path, weights, "--layout", "maskspec", "--statistics", statistics) == 0
    assert "MaskSpec, finetuned: 2 blocks" in capsys.readouterr().out


def test_a_layout_that_cannot_be_is_refused(tmp_path, capsys):
    weights = finetuned((8, 62), 5, noise=0.0).state_dict()
    weights["patch_embed.proj.weight"] = weights["patch_embed.proj.weight"].expand(-1, 3, -1, -1).clone()
    assert convert(tmp_path, weights, "--layout", "maskspec") == 2
    assert "expected patches of 1 channel for --layout maskspec, found 3; leave --layout out" in capsys.readouterr().err
