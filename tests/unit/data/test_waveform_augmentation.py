import numpy as np
import pytest

from maskspec_fairseq.data.waveform_augmentation import LabelledClip, MixPlan, WaveformAugmentation

NUM_CLIPS, NUM_SAMPLES = 6, 1000
KEY = [1, 3, 2]


def load(index):
    """Noise of its own for every clip, each of a class of its own."""
    waveform = np.random.default_rng(index).standard_normal(NUM_SAMPLES).astype(np.float32)
    return LabelledClip(waveform, np.eye(NUM_CLIPS, dtype=np.float32)[index], np.ones(NUM_CLIPS, dtype=bool))


def apply(key=KEY, candidates=range(NUM_CLIPS), **kwargs):
    augmentation = WaveformAugmentation(**kwargs)
    plan = augmentation.plan(key, candidates)
    partners = [None if partner is None else load(partner) for partner in (plan.wave_partner, plan.spec_partner)]
    return augmentation.apply(key, plan, 1000, load(key[2]), *partners)


def test_nothing_is_done_by_default():
    mixed = apply()
    assert np.array_equal(mixed.clip.waveform, load(2).waveform) and mixed.second is None and mixed.ratio == 1
    assert mixed.clip.target.tolist() == load(2).target.tolist()


@pytest.mark.parametrize(
    "kwargs", [dict(wave_mixup=1.0), dict(spec_mixup_alpha=0.3), dict(roll_sec=0.5), dict(gain_db=7)], ids=str
)
def test_depends_on_seed_epoch_and_clip_alone(kwargs):
    def flat(mixed):
        second = np.zeros(1) if mixed.second is None else mixed.second
        return np.concatenate([mixed.clip.waveform, mixed.clip.target, second, [mixed.ratio]])

    first = flat(apply(**kwargs))
    apply([1, 3, 4], **kwargs)
    assert np.array_equal(flat(apply(**kwargs)), first)
    for other in ([2, 3, 2], [1, 4, 2], [1, 3, 3]):
        assert not np.array_equal(flat(apply(other, **kwargs)), first)


def test_targets_are_those_of_what_is_heard():
    """Solve for the share of every clip in the mixture: it is the target."""
    clips = np.stack([load(index).waveform - load(index).waveform.mean() for index in range(NUM_CLIPS)], axis=1)
    for epoch in range(1, 30):
        mixed = apply([1, epoch, 2], wave_mixup=1.0, wave_mixup_alpha=2.0)
        shares = np.linalg.lstsq(clips, mixed.clip.waveform, rcond=None)[0]
        np.testing.assert_allclose(shares, mixed.clip.target, atol=1e-3)
        assert mixed.clip.target[2] >= 0.5 and mixed.clip.target.sum() == pytest.approx(1)
        assert (mixed.clip.target > 0).sum() == 2


def test_log_mel_mixing_hands_on_the_partner_and_the_share():
    for epoch in range(1, 30):
        mixed = apply([1, epoch, 2], spec_mixup_alpha=0.3)
        partner = int(np.argmax([index != 2 and mixed.clip.target[index] > 0 for index in range(NUM_CLIPS)]))
        assert np.array_equal(mixed.clip.waveform, load(2).waveform)
        if mixed.ratio < 1:
            assert np.array_equal(mixed.second, load(partner).waveform)
        assert mixed.clip.target[2] == pytest.approx(mixed.ratio) and mixed.clip.target.sum() == pytest.approx(1)


@pytest.mark.parametrize("kwargs", [dict(wave_mixup=1.0), dict(spec_mixup_alpha=0.3)], ids=str)
def test_partners_are_clips_of_the_epoch_and_others(kwargs):
    partners = set()
    for epoch in range(1, 60):
        target = apply([1, epoch, 2], candidates=np.array([5, 2, 0]), **kwargs).clip.target
        partners |= set(np.flatnonzero(target))
    assert partners == {0, 2, 5}
    assert apply(candidates=[2], **kwargs).clip.target.tolist() == load(2).target.tolist()  # there is no other


def test_a_plan_names_what_the_mix_is_made_of():
    """The dataset loads no other clips than these."""
    for epoch in range(1, 30):
        key, strengths = [1, epoch, 2], dict(wave_mixup=0.5, spec_mixup_alpha=2.0)
        plan = WaveformAugmentation(**strengths).plan(key, range(NUM_CLIPS))
        expected = np.zeros(NUM_CLIPS)
        expected[2] = plan.wave_ratio * plan.spec_ratio
        if plan.wave_partner is not None:
            expected[plan.wave_partner] += (1 - plan.wave_ratio) * plan.spec_ratio
        expected[plan.spec_partner] += 1 - plan.spec_ratio
        np.testing.assert_allclose(apply(key, **strengths).clip.target, expected, atol=1e-6)
    assert WaveformAugmentation(roll_sec=1.0, gain_db=3.0).plan(KEY, range(NUM_CLIPS)) == MixPlan()


def test_with_both_the_shares_multiply():
    mixed = apply(wave_mixup=1.0, spec_mixup_alpha=2.0)
    once = apply(wave_mixup=1.0)
    assert mixed.clip.target[2] == pytest.approx(once.clip.target[2] * mixed.ratio, abs=1e-6)
    assert mixed.clip.target.sum() == pytest.approx(1)


def test_wave_mixup_happens_as_often_as_asked():
    share = np.mean([apply([1, epoch, 2], wave_mixup=0.3).clip.target[2] < 1 for epoch in range(1, 1001)])
    assert share == pytest.approx(0.3, abs=0.06)


def test_roll_and_gain_keep_the_clip():
    rolled = apply(roll_sec=0.5).clip.waveform
    assert not np.array_equal(rolled, load(2).waveform)
    assert np.array_equal(np.sort(rolled), np.sort(load(2).waveform))
    gains = [apply([1, epoch, 2], gain_db=7).clip.waveform[0] / load(2).waveform[0] for epoch in range(1, 200)]
    decibels = 20 * np.log10(gains)
    assert -7 <= decibels.min() < -6 and 6 < decibels.max() <= 7
