from decimal import ROUND_FLOOR, Decimal

import numpy as np
import pytest
import torch

from maskspec_fairseq.clip_rng import MASK, PATCHOUT
from maskspec_fairseq.modules.masking import (
    num_decoded,
    num_masked,
    random_decoding,
    random_masking,
    split_by_mask,
)

RATIOS = [f"0.{percent:02d}" for percent in range(5, 100, 5)]


def keys(*clips, seed=1, epoch=1):
    return np.array([[seed, epoch, clip] for clip in clips])


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("num_patches", [496, 248, 96, 48])
def test_exactly_floor_of_n_alpha_patches_are_masked(ratio, num_patches):
    expected = int((Decimal(ratio) * num_patches).to_integral_value(ROUND_FLOOR))
    mask = random_masking(keys(*range(20)), num_patches, float(ratio))
    assert mask.shape == (20, num_patches) and mask.dtype == torch.bool
    assert (mask.sum(1) == expected).all()


def test_paper_and_code_counts():
    # paper_vs_code: floor masks 372, 396 and 74 of 496 where the released code masks 372, 397 and 75
    assert [num_masked(496, ratio) for ratio in (0.75, 0.8, 0.15)] == [372, 396, 74]


def test_mask_does_not_depend_on_the_batch():
    together = random_masking(keys(*range(12)), 96, 0.75)
    for batch in ([3], [7, 3], [11, 0, 3, 5]):
        for row, clip in zip(random_masking(keys(*batch), 96, 0.75), batch):
            assert torch.equal(row, together[clip])


def test_mask_depends_on_seed_epoch_and_clip():
    masks = [
        random_masking(keys(clip, seed=seed, epoch=epoch), 96, 0.75)[0]
        for clip, seed, epoch in [(0, 1, 1), (1, 1, 1), (0, 2, 1), (0, 1, 2)]
    ]
    for i, first in enumerate(masks):
        for second in masks[i + 1 :]:
            assert not torch.equal(first, second)


def test_every_patch_is_masked_equally_often():
    share = random_masking(keys(*range(4000)), 48, 0.75).double().mean(0)
    # four standard deviations of a mean of 4000 draws
    assert (share - 0.75).abs().max() < 4 * (0.75 * 0.25 / 4000) ** 0.5


def test_visible_and_masked_patches_keep_their_order():
    mask = random_masking(keys(*range(8)), 96, 0.6)
    visible, masked = split_by_mask(mask)
    for row in range(8):
        assert visible[row].tolist() == (~mask[row]).nonzero()[:, 0].tolist()
        assert masked[row].tolist() == mask[row].nonzero()[:, 0].tolist()


def test_uneven_masks_are_refused():
    with pytest.raises(ValueError, match=r"same number of masked patches in every clip, found \[1, 2\]"):
        split_by_mask(torch.tensor([[True, False, False], [True, True, False]]))


@pytest.mark.parametrize("ratio", [0.0, 0.04, 0.96, 1.0, 75])
def test_ratios_outside_the_papers_are_refused(ratio):
    with pytest.raises(ValueError, match=r"expected mask_ratio in \[0.05, 0.95\], found"):
        num_masked(496, ratio)


def test_clip_too_short_to_mask_is_refused():
    with pytest.raises(ValueError, match="at least one masked and one visible patch, found 0 masked of 8"):
        num_masked(8, 0.1)


@pytest.mark.parametrize("share, expected", [(200 / 496, 200), (0.01, 4), (0.99, 491)])
def test_patchout_takes_any_share(share, expected):
    mask = random_masking(keys(*range(20)), 496, share, PATCHOUT)
    assert mask.shape == (20, 496) and (mask.sum(1) == expected).all()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2, 75])
def test_patchout_shares_that_are_none_are_refused(share):
    with pytest.raises(ValueError, match=f"a share of patches above 0 and below 1, found {share}"):
        random_masking(keys(0), 496, share, PATCHOUT)


def test_patchout_of_a_clip_too_short_for_the_share_is_refused():
    with pytest.raises(ValueError, match="at least one masked and one visible patch, found 0 masked of 8"):
        random_masking(keys(0), 8, 0.01, PATCHOUT)


def test_masks_keep_the_papers_range_of_ratios():
    for stream in ((), (MASK,)):
        with pytest.raises(ValueError, match=r"expected mask_ratio in \[0.05, 0.95\], found 0.01"):
            random_masking(keys(0), 496, 0.01, *stream)


def test_streams_draw_for_themselves():
    mask = random_masking(keys(*range(4)), 96, 0.5)
    assert torch.equal(mask, random_masking(keys(*range(4)), 96, 0.5, MASK))
    patchout = random_masking(keys(*range(4)), 96, 0.5, PATCHOUT)
    assert not any(torch.equal(*rows) for rows in zip(mask, patchout))
    decoded = random_decoding(keys(*range(4)), torch.arange(96).expand(4, -1), 0.5)
    assert not any(mask[clip, drawn].all() or patchout[clip, drawn].all() for clip, drawn in enumerate(decoded))


@pytest.mark.parametrize("share", [*RATIOS, "1"])
def test_exactly_floor_of_the_share_is_decoded(share):
    expected = int((Decimal(share) * 372).to_integral_value(ROUND_FLOOR))
    masked = split_by_mask(random_masking(keys(*range(5)), 496, 0.75))[1]
    decoded = random_decoding(keys(*range(5)), masked, float(share))
    assert decoded.shape == (5, expected) and (decoded.diff(dim=1) > 0).all()
    assert all(set(few.tolist()) <= set(all_of_them.tolist()) for few, all_of_them in zip(decoded, masked))


def test_what_is_decoded_depends_on_seed_epoch_and_clip_alone():
    masked = torch.arange(72).expand(12, -1)
    together = random_decoding(keys(*range(12)), masked, 0.25)
    for batch in ([3], [7, 3], [11, 0, 3, 5]):
        assert torch.equal(random_decoding(keys(*batch), masked[: len(batch)], 0.25), together[batch])
    others = [dict(clips=[1]), dict(clips=[0], seed=2), dict(clips=[0], epoch=2)]
    drawn = [random_decoding(keys(*other.pop("clips"), **other), masked[:1], 0.25) for other in others]
    assert len({tuple(row[0].tolist()) for row in (together[:1], *drawn)}) == 4


def test_every_masked_patch_is_decoded_equally_often():
    decoded = random_decoding(keys(*range(4000)), torch.arange(36).expand(4000, -1), 0.25)
    share = torch.bincount(decoded.flatten(), minlength=36) / 4000
    assert (share - 0.25).abs().max() < 4 * (0.75 * 0.25 / 4000) ** 0.5


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, 33.0, float("nan"), float("inf")])
def test_shares_of_the_decoder_that_are_none_are_refused(share):
    with pytest.raises(ValueError, match=f"expected model.decoder_share above 0 and at most 1, found {share}"):
        num_decoded(372, share)


def test_a_share_of_too_few_masked_patches_is_refused():
    with pytest.raises(ValueError, match="at least one masked patch to decode, found a share of 0.1 of 6; use longer"):
        num_decoded(6, 0.1)
