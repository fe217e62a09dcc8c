import numpy as np
import pytest
from fairseq.data.iterators import ShardedIterator
from scipy.stats import chisquare

from maskspec_fairseq.data.weighted_sampling import clip_weights, draw
from maskspec_fairseq.data_dir.packed import PackedRows

LABELS = PackedRows([[0, 2], [], [2], [2, 0, 1], [2], []])


def random_weights(clips=500):
    return np.random.default_rng(0).gamma(0.5, size=clips)


def test_classes_are_counted_once_per_clip():
    twice = PackedRows([[0, 2, 0], [], [2, 2], [2, 0, 1], [2], []])
    assert clip_weights(twice, 4, "psla").tolist() == clip_weights(LABELS, 4, "psla").tolist()


@pytest.mark.parametrize("formula, offset", [("passt", 100), ("psla", 0.01)])
def test_a_clip_weighs_the_sum_of_its_classes(formula, offset):
    w = [1000 / (count + offset) for count in (2, 1, 4)]
    expected = [w[0] + w[2], 0, w[2], w[0] + w[1] + w[2], w[2], 0]
    np.testing.assert_allclose(clip_weights(LABELS, 4, formula), expected, rtol=1e-12)


@pytest.mark.parametrize("formula, offset", [("passt", 100), ("psla", 0.01)])
def test_weights_are_those_of_the_multi_hot_matrix(formula, offset):
    rng = np.random.default_rng(1)
    labels = [rng.integers(0, 30, size=rng.integers(0, 6)).tolist() for _ in range(400)]
    multi_hot = np.zeros((400, 30))
    for clip, classes in enumerate(labels):
        multi_hot[clip, classes] = 1
    expected = multi_hot @ (1000 / (offset + multi_hot.sum(0)))
    np.testing.assert_allclose(clip_weights(PackedRows(labels), 30, formula), expected, rtol=1e-12)


def test_unknown_formula_is_refused():
    with pytest.raises(ValueError, match=r"expected task.clip_sampling out of \('passt', 'psla'\), found 'ast'"):
        clip_weights(LABELS, 4, "ast")


@pytest.mark.parametrize("labels", [[[], [], []], []])
def test_clips_without_any_label_are_refused(labels):
    with pytest.raises(ValueError, match=f"a label in at least one clip, found none in {len(labels)}; label the"):
        clip_weights(PackedRows(labels), 4, "passt")


@pytest.mark.parametrize("wrong", [3, -1])
def test_class_indices_are_checked(wrong):
    with pytest.raises(ValueError, match=f"class indices from 0 to 2, found {wrong} in clip 2"):
        clip_weights(PackedRows([[0], [], [1, wrong]]), 3, "passt")


def test_an_epoch_has_no_clip_twice_and_none_without_weight():
    weights = random_weights()
    weights[::5] = 0
    for num_draws in (1, 100, 400):
        clips = draw(weights, num_draws, seed=1, epoch=1)
        assert len(clips) == len(set(clips.tolist())) == num_draws
        assert clips.dtype == np.int64 and (weights[clips] > 0).all()
    assert sorted(clips.tolist()) == np.flatnonzero(weights).tolist()


def test_a_draw_depends_on_seed_and_epoch_alone():
    weights = random_weights()
    first = draw(weights, 100, seed=1, epoch=1)
    np.random.seed(5)
    assert np.array_equal(first, draw(weights, 100, seed=1, epoch=1))
    for seed, epoch in [(1, 2), (2, 1)]:
        assert set(first.tolist()) != set(draw(weights, 100, seed, epoch).tolist())


def test_single_draws_follow_the_weights():
    weights = np.array([1.0, 0.0, 2.0, 3.0, 10.0])
    clips = [draw(weights, 1, seed=1, epoch=epoch)[0] for epoch in range(5000)]
    counts = np.bincount(clips, minlength=5)
    assert counts[1] == 0
    assert chisquare(counts[[0, 2, 3, 4]], 5000 * weights[[0, 2, 3, 4]] / 16).pvalue > 0.001


def test_pairs_are_drawn_one_after_another():
    p = np.array([0.1, 0.2, 0.3, 0.4])
    pairs = [tuple(sorted(draw(p, 2, seed=3, epoch=epoch).tolist())) for epoch in range(5000)]
    # first one, then the other among those that are left, in either order
    expected = {(i, j): p[i] * p[j] * (1 / (1 - p[i]) + 1 / (1 - p[j])) for j in range(4) for i in range(j)}
    counts = [pairs.count(pair) for pair in expected]
    assert chisquare(counts, 5000 * np.array(list(expected.values()))).pvalue > 0.001


def test_heavy_clips_come_no_earlier_than_light_ones():
    weights = np.array([100.0, 1.0, 1.0, 1.0])
    positions = [draw(weights, 4, seed=1, epoch=epoch).tolist().index(0) for epoch in range(4000)]
    assert chisquare(np.bincount(positions, minlength=4)).pvalue > 0.001


@pytest.mark.parametrize("num_shards", [2, 3])
def test_ranks_draw_no_clip_twice(num_shards):
    shards = []
    for rank in range(num_shards):
        clips = draw(random_weights(), 100, seed=1, epoch=4)  # every rank draws for itself
        batches = [clips[start : start + 8].tolist() for start in range(0, 100, 8)]
        shards.append([clip for batch in ShardedIterator(batches, num_shards, rank, fill_value=[]) for clip in batch])
    together = [clip for shard in shards for clip in shard]
    assert min(len(shard) for shard in shards) > 0
    assert len(together) == len(set(together)) == 100


@pytest.mark.parametrize("num_draws", [4, 0, -1])
def test_impossible_numbers_of_draws_are_refused(num_draws):
    with pytest.raises(ValueError, match=f"expected 1 to 3 draws per epoch.*found {num_draws}; draw another number"):
        draw(np.array([1.0, 0.0, 2.0, 1e-9]), num_draws, seed=1, epoch=1)


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf])
def test_weights_are_checked(wrong):
    with pytest.raises(ValueError, match=f"finite weights of at least 0, found {wrong} for clip 1"):
        draw(np.array([1.0, wrong, 2.0]), 1, seed=1, epoch=1)
