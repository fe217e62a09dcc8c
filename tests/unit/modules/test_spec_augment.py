import numpy as np
import pytest
import torch
from scipy.stats import beta, chisquare, kstest

from maskspec_fairseq.data.waveform_augmentation import change_gain, mix_targets, mix_waveforms, mixup_ratio, roll
from maskspec_fairseq.modules import spec_augment as module


def rng(seed=0):
    return np.random.default_rng(seed)


def noise(seed=0, size=2000):
    return rng(seed).standard_normal(size).astype(np.float32)


def keys(*clips, seed=1, epoch=1):
    return np.array([[seed, epoch, clip] for clip in clips])


def spec_augment(spectrogram, clip_keys, max_bins, max_frames):
    zeros = torch.zeros(spectrogram.shape[1], device=spectrogram.device)
    return module.spec_augment(spectrogram, clip_keys, max_bins, max_frames, zeros)


def hidden_spans(spectrogram):
    """(start, width) of the band of bins and of the stretch of frames that are 0 in (F, S), where nothing else is."""
    hidden = spectrogram == 0
    expected = torch.zeros_like(hidden)
    spans = []
    for lines, rows in ((hidden.all(dim=1), expected), (hidden.all(dim=0), expected.T)):
        start, width = int(lines.int().argmax()), int(lines.sum())
        rows[start : start + width] = True
        spans.append((start, width))
    assert torch.equal(hidden, expected)
    return spans


@pytest.mark.parametrize("alpha", [0.3, 2.0])
def test_ratios_are_a_folded_beta(alpha):
    generator = rng()
    ratios = np.array([mixup_ratio(generator, alpha) for _ in range(4000)])
    assert type(mixup_ratio(generator, alpha)) is float
    assert ratios.min() >= 0.5 and ratios.max() <= 1
    distribution = beta(alpha, alpha)
    assert kstest(ratios, lambda x: distribution.cdf(x) - distribution.cdf(1 - x)).pvalue > 0.001


@pytest.mark.parametrize("alpha", [0.0, -1.0])
def test_alpha_must_be_above_0(alpha):
    with pytest.raises(ValueError, match=f"mixup alpha above 0, found {alpha}; leave mixup out"):
        mixup_ratio(rng(), alpha)


@pytest.mark.parametrize("ratio", [0.5, 0.8, 1.0])
def test_waveforms_are_mixed_without_their_means(ratio):
    first, second = noise(1) + np.float32(0.5), 3 * noise(2) - np.float32(2)
    before = first.copy(), second.copy()
    mixed = mix_waveforms(first, second, ratio)
    weights = np.array([[ratio], [1 - ratio]])
    expected = (weights * np.stack([first - first.mean(), second - second.mean()]).astype(np.float64)).sum(0)
    np.testing.assert_allclose(mixed, expected, atol=1e-5)
    assert mixed.dtype == np.float32 and abs(mixed.mean()) < 1e-6
    assert np.array_equal(first, before[0]) and np.array_equal(second, before[1])


def test_an_offset_changes_no_mix():
    offset = mix_waveforms(noise(1) + np.float32(0.7), noise(2) - np.float32(0.2), 0.6)
    np.testing.assert_allclose(offset, mix_waveforms(noise(1), noise(2), 0.6), atol=1e-5)


def test_waveforms_of_two_lengths_are_refused():
    with pytest.raises(ValueError, match=r"two waveforms of one length, found \(20,\) and \(1,\)"):
        mix_waveforms(noise(size=20), noise(size=1), 0.6)


def test_known_targets_are_mixed_by_the_ratio():
    eye, known = np.eye(5, dtype=np.float32), np.ones(5, dtype=bool)
    target, both = mix_targets(eye[1], known, eye[3], known, 0.7)
    np.testing.assert_allclose(target, [0, 0.7, 0, 0.3, 0], rtol=1e-6)
    assert target.dtype == np.float32 and target.sum() == pytest.approx(1) and both.all()
    same, _ = mix_targets(eye[1], known, eye[1], known, 0.7)
    np.testing.assert_allclose(same, eye[1], rtol=1e-6)


def test_a_mixed_label_is_known_where_that_of_the_louder_clip_is():
    values = [(target, known) for target in (0.0, 0.4, 1.0) for known in (False, True)]
    first, second = zip(*((one, other) for one in values for other in values))
    columns = [np.array(column) for clip in (first, second) for column in zip(*clip)]
    columns[0], columns[2] = columns[0].astype(np.float32), columns[2].astype(np.float32)
    target, known = mix_targets(*columns, 0.75)
    for index, ((a, a_known), (b, b_known)) in enumerate(zip(first, second)):
        assert known[index] == a_known
        assert target[index] == pytest.approx((0.75 * a + 0.25 * b * b_known) * a_known)
    assert known.dtype == bool and target.dtype == np.float32


def test_roll_moves_every_sample_by_one_uniform_shift():
    waveform = np.arange(100, dtype=np.float32)
    generator = rng()
    shifts = []
    for _ in range(3500):
        rolled = roll(waveform, generator, 3)
        shift = int(np.argmin(rolled))
        assert rolled.dtype == np.float32
        assert rolled.tolist() == waveform[-shift:].tolist() + waveform[:-shift].tolist()
        shifts.append(shift if shift < 50 else shift - 100)
    counts = np.bincount(np.array(shifts) + 3)
    assert len(counts) == 7 and chisquare(counts).pvalue > 0.001
    assert np.array_equal(waveform, np.arange(100))


def test_roll_further_than_the_clip_keeps_its_samples():
    waveform = noise(size=30)
    rolled = [roll(waveform, rng(seed), 1000) for seed in range(10)]
    assert all(sorted(one.tolist()) == sorted(waveform.tolist()) for one in rolled)
    assert any(not np.array_equal(one, waveform) for one in rolled)


def test_no_roll_and_no_gain_change_nothing():
    assert np.array_equal(roll(noise(), rng(), 0), noise())
    assert np.array_equal(change_gain(noise(), rng(), 0.0), noise())


def test_gain_is_one_uniform_number_of_db():
    waveform = noise(size=50)
    generator = rng()
    gains = []
    for _ in range(2000):
        louder = change_gain(waveform, generator, 7.0)
        assert louder.dtype == np.float32
        gains.append(10 * np.log10((louder.astype(np.float64) ** 2).sum() / (waveform.astype(np.float64) ** 2).sum()))
        np.testing.assert_allclose(louder / waveform, 10 ** (gains[-1] / 20), rtol=1e-4)
    assert kstest(gains, "uniform", args=(-7, 14)).pvalue > 0.001
    assert np.array_equal(waveform, noise(size=50))


def test_negative_limits_are_refused():
    with pytest.raises(ValueError, match="roll of at least 0 samples, found -1"):
        roll(noise(), rng(), -1)
    with pytest.raises(ValueError, match="gain of at least 0 dB either way, found -0.5"):
        change_gain(noise(), rng(), -0.5)
    for max_bins, max_frames in [(-1, 2), (2, -1)]:
        with pytest.raises(ValueError, match=f"0 mel bins and frames to mask, found {max_bins} and {max_frames}"):
            spec_augment(torch.ones(1, 8, 8), keys(0), max_bins, max_frames)


def test_spec_augment_hides_a_uniform_band_and_stretch_of_each_clip():
    clips, n_mels, frames = 3000, 12, 20
    masked = spec_augment(torch.ones(clips, n_mels, frames), keys(*range(clips)), 4, 6)
    # a clip of which all bins or all frames are hidden would hide the other span; 4 of 12 and 6 of 20 never do
    bands, stretches = zip(*(hidden_spans(clip) for clip in masked))
    for spans, size, longest in [(bands, n_mels, 4), (stretches, frames, 6)]:
        widths = np.bincount([width for _, width in spans])
        assert len(widths) == longest + 1 and chisquare(widths).pvalue > 0.001
        for width in range(1, longest + 1):
            starts = np.bincount([start for start, other in spans if other == width])
            assert len(starts) == size - width + 1 and chisquare(starts).pvalue > 0.001
    widths = np.array([[band[1], stretch[1]] for band, stretch in zip(bands, stretches)], dtype=float)
    assert abs(np.corrcoef(widths.T)[0, 1]) < 4 / clips**0.5  # the one says nothing of the other


def test_spec_augment_of_a_clip_does_not_depend_on_the_batch():
    spectrogram = torch.randn(9, 16, 32)
    together = spec_augment(spectrogram, keys(*range(9)), 8, 16)
    for batch in ([3], [7, 3], [8, 0, 5]):
        assert torch.equal(spec_augment(spectrogram[batch], keys(*batch), 8, 16), together[batch])
    assert len({(spectrogram_[0] == 0).numpy().tobytes() for spectrogram_ in together}) > 1


def test_spec_augment_depends_on_seed_epoch_and_clip():
    ones = torch.ones(1, 128, 992)
    masked = [spec_augment(ones, key, 48, 192) for key in (keys(0), keys(1), keys(0, seed=2), keys(0, epoch=2))]
    for index, first in enumerate(masked):
        for second in masked[index + 1 :]:
            assert not torch.equal(first, second)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_spec_augment_leaves_its_input_and_all_other_values_alone(dtype):
    spectrogram = torch.randn(6, 16, 32).to(dtype)
    before = spectrogram.clone()
    masked = spec_augment(spectrogram, keys(*range(6)), 8, 16)
    assert torch.equal(spectrogram, before) and masked.dtype == dtype
    assert torch.equal(masked, torch.where(masked == 0, torch.zeros_like(before), before))
    assert 0 < (masked == 0).sum() < masked.numel()


def test_spec_augment_hides_each_bin_behind_its_own_value():
    spectrogram, values = torch.randn(6, 16, 32), torch.arange(16.0) + 10
    masked = module.spec_augment(spectrogram, keys(*range(6)), 8, 16, values)
    hidden = spec_augment(spectrogram, keys(*range(6)), 8, 16) == 0
    assert torch.equal(masked, torch.where(hidden, values[None, :, None], spectrogram))


def test_spec_augment_works_on_another_device():
    masked = spec_augment(torch.empty(2, 16, 32, device="meta"), keys(0, 1), 8, 16)
    assert masked.device.type == "meta" and masked.shape == (2, 16, 32)


def test_spec_augment_of_clips_smaller_than_the_masks():
    masked = spec_augment(torch.ones(300, 4, 5), keys(*range(300)), 48, 192)
    hidden = (masked == 0).flatten(1).double().mean(1)
    assert hidden.max() == 1 and hidden.min() == 0


def test_spec_augment_without_masks_changes_nothing():
    spectrogram = torch.randn(4, 16, 32)
    assert torch.equal(spec_augment(spectrogram, keys(0, 1, 2, 3), 0, 0), spectrogram)
    bands = spec_augment(torch.ones(20, 16, 32), keys(*range(20)), 8, 0)
    assert (bands == bands[:, :, :1]).all() and (bands == 0).any()


def test_spec_augment_needs_a_key_for_each_clip():
    with pytest.raises(ValueError, match="a key for each of the 3 clips, found 2"):
        spec_augment(torch.ones(3, 16, 32), keys(0, 1), 8, 16)
