import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import erfinv
from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score, roc_auc_score

from maskspec_fairseq.metrics import accuracy, class_recalls, multilabel_scores


def class_mean_accuracy(scores, target):
    """The mean over the classes that occur, as `summarise` takes it."""
    return float(np.nanmean(class_recalls(scores, target)))


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def average_precision(target, scores):
    """By its definition: the mean over the positives of the precision among the clips that score as high or higher."""
    return np.mean([(target[scores >= score] == 1).mean() for score in scores[target == 1]])


def auc(target, scores):
    """Mann and Whitney: the share of the pairs of a positive and a negative that are in order, a tie being half one."""
    positives, negatives = scores[target == 1][:, None], scores[target == 0]
    return np.mean((positives > negatives) + 0.5 * (positives == negatives))


def random_labels(seed, clips=200, classes=12):
    """Scores with many ties, labels that they tell something of, and a mask of which labels are known."""
    rng = np.random.default_rng(seed)
    target = (rng.random((clips, classes)) < 0.2).astype(np.float32)
    scores = np.round(rng.standard_normal((clips, classes)) + target, 1).astype(np.float32)
    return scores, target, rng.random((clips, classes)) < 0.4


def masked_reference(metric, scores, target, known):
    """scikit-learn's own way to leave labels out: weights of 0."""
    return [
        metric(target[:, c].astype(int), scores[:, c], sample_weight=known[:, c].astype(float))
        for c in range(scores.shape[1])
    ]


def column(values):
    return np.array(values)[:, None]


@pytest.mark.parametrize("seed", range(3))
def test_accuracies_agree_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    target = rng.choice([0, 1, 1, 1, 2, 4], size=300)  # class 3 never occurs, class 1 often
    scores = rng.standard_normal((300, 5)) + 2 * np.eye(5)[target]
    predicted = scores.argmax(1)
    assert 3 in predicted
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the predicted class that does not occur
        expected = balanced_accuracy_score(target, predicted)
    assert accuracy(scores, target) == pytest.approx(accuracy_score(target, predicted))
    assert class_mean_accuracy(scores, target) == pytest.approx(expected)
    assert abs(accuracy(scores, target) - expected) > 1e-3  # or the two would not be told apart here


def test_accuracies_of_a_case_worked_by_hand():
    # three of four clips of class 0 are found, and neither of class 1's: the one is taken for class 0, one for 2
    scores = np.eye(3, dtype=np.float32)[[0, 0, 0, 2, 0, 2]]
    target = np.array([0, 0, 0, 0, 1, 1])
    assert accuracy(scores, target) == 0.5
    assert class_mean_accuracy(scores, target) == 0.375


@pytest.mark.parametrize("metric", [accuracy, class_mean_accuracy])
def test_class_indices_are_checked(metric):
    scores = np.zeros((3, 2), dtype=np.float32)
    with pytest.raises(ValueError, match=r"one class index for each of the 3 clips, found shape \(3, 2\)"):
        metric(scores, np.zeros((3, 2), dtype=int))
    with pytest.raises(ValueError, match="class indices from 0 to 1, found 2 in row 1"):
        metric(scores, np.array([0, 2, 0]))
    with pytest.raises(ValueError, match="class indices from 0 to 1, found -1 in row 2"):
        metric(scores, np.array([0, 1, -1]))


@pytest.mark.parametrize(
    "score",
    [
        lambda scores: accuracy(scores, np.zeros(4, dtype=int)),
        lambda scores: class_mean_accuracy(scores, np.zeros(4, dtype=int)),
        lambda scores: multilabel_scores(scores, np.ones((4, 3))),
    ],
    ids=["accuracy", "class_mean_accuracy", "multilabel"],
)
def test_scores_that_are_not_finite_are_refused(score):
    scores = np.zeros((4, 3), dtype=np.float32)
    score(scores)
    scores[2] = [0, np.nan, -np.inf]
    scores[3, 0] = np.inf
    with pytest.raises(
        ValueError, match="expected finite scores, found 3 that are NaN or infinite, the first in row 2;"
    ):
        score(scores)
    with pytest.raises(ValueError, match=r"at least one of each, found shape \(0, 3\)"):
        score(scores[:0])
    with pytest.raises(ValueError, match=r"scores of clips by classes, at least one of each, found shape \(12,\)"):
        score(scores.reshape(-1))


def test_a_case_worked_by_hand():
    measured = multilabel_scores(column([4.0, 3.0, 2.0, 1.0]), column([1, 0, 1, 0]))
    assert measured.mean_average_precision == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert measured.mean_auc == 0.75  # three of the four pairs are in order
    assert measured.d_prime == pytest.approx(2 * erfinv(2 * 0.75 - 1))


@pytest.mark.parametrize("seed", range(3))
def test_classes_agree_with_the_definitions(seed):
    scores, target, _ = random_labels(seed)
    measured = multilabel_scores(scores, target)
    columns = list(zip(target.T, scores.T))
    precisions, areas = (np.array([metric(*column) for column in columns]) for metric in (average_precision, auc))
    np.testing.assert_allclose(measured.average_precision, precisions, rtol=1e-12)
    np.testing.assert_allclose(measured.auc, areas, rtol=1e-12)
    assert measured.mean_average_precision == pytest.approx(precisions.mean())
    assert measured.mean_auc == pytest.approx(areas.mean())
    assert measured.d_prime == pytest.approx(2 * erfinv(2 * areas.mean() - 1))
    assert measured.num_skipped_classes == 0
    for number in (measured.mean_average_precision, measured.mean_auc, measured.d_prime):
        assert type(number) is float
    assert type(measured.num_skipped_classes) is int


@pytest.mark.parametrize("seed", range(3))
def test_masked_labels_agree_with_weights_of_0(seed):
    scores, target, known = random_labels(seed)
    measured = multilabel_scores(scores, np.where(known, target, 0.5), known)
    expected = masked_reference(average_precision_score, scores, target, known)
    np.testing.assert_allclose(measured.average_precision, expected, rtol=1e-9)
    np.testing.assert_allclose(measured.auc, masked_reference(roc_auc_score, scores, target, known), rtol=1e-9)
    assert not np.allclose(measured.average_precision, multilabel_scores(scores, target).average_precision, atol=1e-3)


# Ties, the two zeros, the smallest numbers and the largest, whose difference is none of float32
SCORES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45, 2e-45, 3.4e38, -3.4e38]) | st.floats(width=32, allow_nan=False)
TABLES = st.tuples(st.integers(1, 12), st.integers(1, 3)).flatmap(
    lambda shape: st.tuples(
        arrays(np.float32, shape, elements=SCORES.filter(math.isfinite)),
        arrays(np.bool_, shape),
        arrays(np.bool_, shape) | st.just(np.ones(shape, dtype=bool)),
    )
)


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(TABLES)
def test_every_class_agrees_with_the_definitions(table):
    scores, target, known = table
    target[0, 0] = known[0, 0] = True  # or there is nothing to score
    measured = multilabel_scores(scores, target, known)
    for index, rows in enumerate(known.T):
        class_target, class_scores = target[rows, index].astype(int), scores[rows, index]
        expected = [math.nan, math.nan]
        if class_target.any():
            expected[0] = average_precision(class_target, class_scores)
            if not class_target.all():
                expected[1] = auc(class_target, class_scores)
        found = [measured.average_precision[index], measured.auc[index]]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_classes_without_positives_are_left_out_of_the_means():
    scores, target, known = random_labels(0)
    expected = multilabel_scores(scores[:, :9], target[:, :9], known[:, :9])
    target[:, 9] = 0  # no positive at all
    known[:, 10] &= target[:, 10] == 0  # no known positive
    known[:, 11] = False
    measured = multilabel_scores(scores, target, known)
    assert np.isnan(measured.average_precision).tolist() == 9 * [False] + 3 * [True]
    assert np.isnan(measured.auc).tolist() == 9 * [False] + 3 * [True]
    assert measured.mean_average_precision == pytest.approx(expected.mean_average_precision)
    assert measured.mean_auc == pytest.approx(expected.mean_auc)
    assert measured.num_skipped_classes == 3


def test_classes_without_negatives_are_left_out_of_the_mean_auc_alone():
    scores, target, known = random_labels(1)
    expected = multilabel_scores(scores[:, :11], target[:, :11], known[:, :11])
    known[:, 11] &= target[:, 11] == 1
    measured = multilabel_scores(scores, target, known)
    assert measured.average_precision[11] == pytest.approx(1) and math.isnan(measured.auc[11])
    assert measured.mean_average_precision == pytest.approx((11 * expected.mean_average_precision + 1) / 12)
    assert measured.mean_auc == pytest.approx(expected.mean_auc)
    assert measured.num_skipped_classes == 0


def test_auc_and_d_prime_without_any_negative_are_nan():
    measured = multilabel_scores(np.zeros((2, 3), dtype=np.float32), np.ones((2, 3)))
    assert measured.mean_average_precision == pytest.approx(1)
    assert math.isnan(measured.mean_auc) and math.isnan(measured.d_prime)


def test_equal_scores_are_worth_the_prevalence():
    measured = multilabel_scores(np.zeros((10, 1), dtype=np.float32), column([1] * 3 + [0] * 7))
    assert measured.mean_average_precision == pytest.approx(0.3)
    assert measured.mean_auc == 0.5 and measured.d_prime == 0


def test_logits_beyond_the_sigmoids_resolution_keep_their_ranks():
    scores = column(np.linspace(60, 30, 20).astype(np.float32))
    target = column([1] * 5 + [0] * 15)
    assert len(np.unique(1 / (1 + np.exp(-scores)))) == 1
    measured = multilabel_scores(scores, target)
    assert measured.mean_average_precision == pytest.approx(1)
    assert measured.mean_auc == 1 and measured.d_prime == math.inf


def test_no_known_positive_is_refused():
    scores, target, known = random_labels(2)
    with pytest.raises(ValueError, match="no clip of the subset that has a known positive label; check that"):
        multilabel_scores(scores, target, known & (target == 0))


def test_labels_are_checked():
    scores, target, known = random_labels(0)
    with pytest.raises(ValueError, match=r"target of the scores' shape \(200, 12\), found \(200, 11\)"):
        multilabel_scores(scores, target[:, :11])
    with pytest.raises(ValueError, match=r"known of the scores' shape \(200, 12\), found \(12,\)"):
        multilabel_scores(scores, target, known[0])
    target[known.nonzero()[0][0], known.nonzero()[1][0]] = 0.5
    with pytest.raises(ValueError, match="known labels to be 0 or 1, found 0.5; round"):
        multilabel_scores(scores, target, known)
