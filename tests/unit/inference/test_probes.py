import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from maskspec_fairseq.inference import probes
from maskspec_fairseq.inference.probes import STRENGTHS, fit_linear, inner_splits, score_probes


def clouds(features, classes, clips=90, noise=3.0, seed=0):
    """Features of clips about the corners of their classes, and the classes."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(clips) % classes
    corners = np.random.default_rng(9).standard_normal((classes, features))
    return (corners[numbers] + noise * rng.standard_normal((clips, features))).astype(np.float32) + 4, numbers


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("features", [20, 400])
def test_the_rotated_regression_is_that_of_all_features(monkeypatch, features, classes):
    """With more features than clips, and with fewer, of one class per clip and of any number of them."""
    monkeypatch.setattr(probes, "TOLERANCE", 1e-6)  # to compare solutions, not where two solvers stop
    rows, numbers = clouds(features, classes)
    others, _ = clouds(features, classes, seed=1)
    target = np.eye(classes, dtype=bool)[numbers]
    found = fit_linear(rows, target, np.ones_like(target), False)(others)
    each = fit_linear(rows, target, np.ones_like(target), True)(others)
    for index, strength in enumerate(STRENGTHS):
        regression = LogisticRegression(C=strength / features, tol=1e-8, max_iter=10000)
        expected = make_pipeline(StandardScaler(), regression).fit(rows, numbers).predict_proba(others)
        np.testing.assert_allclose(found[index], expected, atol=0.03)
        one_by_one = OneVsRestClassifier(make_pipeline(StandardScaler(), regression)).fit(rows, target.astype(int))
        expected = one_by_one.decision_function(others)
        np.testing.assert_allclose(each[index], expected, atol=0.03 * np.abs(expected).max())


def test_the_strength_is_that_of_a_grid_search_inside_the_training_part():
    rows, numbers = clouds(120, 3, clips=180, noise=5.0)
    target, folds = np.eye(3, dtype=bool)[numbers], np.arange(180) // 45
    subsets = {f"fold{fold}": np.flatnonzero(folds == fold) for fold in range(4)}
    splits = [([name for name in subsets if name != test], test) for test in subsets]
    found = score_probes(rows, target, np.ones_like(target), subsets, splits)
    assert found.name == "accuracy" and not found.inside["knn"]
    for test, clips in subsets.items():
        train = np.setdiff1d(np.arange(180), clips)
        grid = {"logisticregression__C": [strength / 120 for strength in STRENGTHS]}
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10000))
        search = GridSearchCV(pipeline, grid, cv=PredefinedSplit(folds[train])).fit(rows[train], numbers[train])
        assert found.strength[test] == pytest.approx(search.best_params_["logisticregression__C"], rel=1e-5)
        assert found.inside["linear"][test] == pytest.approx(search.best_score_, abs=0.02)
        assert found.test["linear"][test] == pytest.approx(search.score(rows[clips], numbers[clips]), abs=0.05)


def test_what_is_tested_has_no_part_in_the_choice():
    rows, numbers = clouds(50, 3)
    subsets = {"a": np.arange(30), "b": np.arange(30, 60), "c": np.arange(60, 90)}
    other_numbers, other_rows = numbers.copy(), rows.copy()
    other_numbers[60:], other_rows[60:] = numbers[60:][::-1], 0
    before, after = (
        score_probes(x, np.eye(3, dtype=bool)[y], np.ones((90, 3), dtype=bool), subsets, [(["a", "b"], "c")], True)
        for x, y in ((rows, numbers), (other_rows, other_numbers))
    )
    assert before.strength == after.strength and before.inside == after.inside and before.test != after.test


def test_recordings_of_a_fold_are_held_out_together(monkeypatch):
    target = np.eye(3, dtype=bool)[np.arange(12) % 3]
    parts = [np.arange(4), np.arange(4, 8), np.arange(8, 12)]
    splits = inner_splits(parts, target)
    assert [held.tolist() for _, held in splits] == [part.tolist() for part in parts]
    assert all(sorted([*rest, *held]) == list(range(12)) for rest, held in splits)
    monkeypatch.setattr(probes, "ENOUGH_CLIPS", 5)
    assert len(inner_splits(parts, target)) == 2


def test_a_single_subset_is_dealt_class_by_class_and_in_the_same_way_each_time():
    numbers = np.random.default_rng(3).permutation(np.repeat([0, 1, 2], [50, 40, 10]))
    target = np.eye(3, dtype=bool)[numbers]
    splits, again = (inner_splits([np.arange(100)], target) for _ in range(2))
    assert [held.tolist() for _, held in splits] == [held.tolist() for _, held in again]
    assert sorted(np.concatenate([held for _, held in splits])) == list(range(100))
    for rest, held in splits:
        assert np.bincount(numbers[held]).tolist() == [10, 8, 2] and not set(rest) & set(held)


@pytest.mark.parametrize("clips", [1, 2, 3])
def test_few_clips_and_classes_are_probed_all_the_same(clips):
    """A training part with one clip, or with one class, chooses what it can."""
    rows, _ = clouds(5, 2, clips=6)
    target = np.eye(2, dtype=bool)[[0, 0, 0, 1, 0, 1]]
    subsets = {"train": np.arange(clips), "test": np.arange(3, 6)}
    found = score_probes(rows, target, np.ones_like(target), subsets, [(["train"], "test")], True)
    assert found.test["linear"] == {"test": pytest.approx(1 / 3, abs=1e-4)}  # the only class that was seen


@pytest.mark.parametrize("features", [3, 30])
def test_clips_that_are_all_the_same_are_told_apart_by_how_many_have_a_class(features):
    target = np.eye(2, dtype=bool)[[0, 1, 1, 1, 1, 0]]
    same, known = np.full((6, features), 0.1, dtype=np.float32), np.ones((6, 2), dtype=bool)
    for predicted in fit_linear(same, target, known, False)(same):
        assert np.allclose(predicted, [1 / 3, 2 / 3], atol=1e-3)
