"""Simple classifiers on frozen features, to judge the features.

What a classifier is fitted with, the strength of its regularisation, is chosen within the clips that it is fitted to.

Shapes: N clips to fit to, M clips to score, D features, K directions after the rotation, C classes, Q strengths of the
regularisation.
"""

import math
from collections.abc import Sequence
from typing import Callable, NamedTuple

import numpy as np
from scipy.linalg import eigh
from scipy.special import softmax
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from maskspec_fairseq.metrics import SCORE_NAMES, accuracy, multilabel_scores

NEIGHBOURS = 10
# scikit-learn's C for clips of length one, from strong to weak regularisation; for D standardised features, whose clips
# have a length of sqrt(D), it is this divided by D, so that one grid serves 192 features and 3,072.
STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
TOLERANCE = 3e-4  # of the gradient, for clips of length one
MAX_ITERATIONS = 1000
NOISE = 1e-6  # share of the largest eigenvalue of a Gram matrix below which float32 has no digits left
INNER_PARTS = 5  # of a training subset that comes in one piece
ENOUGH_CLIPS = 1000  # held out inside the training part, to choose among four candidates

Predict = Callable[[np.ndarray], np.ndarray]  # (M, D) -> (Q, M, C)


class ProbeScores(NamedTuple):
    """What `score_probes` measures.

    name: of the score.
    test: per kind of probe, the score of each subset that is tested.
    inside: the same of the clips held out inside the training part of that subset, by which the regularisation was
        chosen; empty for a probe without anything to choose, unless it was asked for.
    strength: the C of `linear` that was chosen for each subset, scikit-learn's for standardised features.
    """

    name: str
    test: dict[str, dict[str, float]]
    inside: dict[str, dict[str, float]]
    strength: dict[str, float]


def fit_linear(
    features: np.ndarray,
    target: np.ndarray,
    known: np.ndarray,
    target_is_multilabel: bool,
    strengths: Sequence[float] = STRENGTHS,
) -> Predict:
    """Logistic regressions, one per strength of the regularisation.

    With more features than clips they are rotated into as many directions as there are clips. That is exact: a
    regression with an L2 penalty depends on inner products alone.

    Args:
        features: (N, D), standardised here.
        target: bool (N, C).
        known: bool (N, C), whether it is known if a clip has a class. With several classes per clip, the regression of
            a class is fitted to the clips for which it is known.
        target_is_multilabel: fit one regression per class, instead of one that chooses among the classes.
        strengths: Q numbers, ascending.

    Returns:
        Features of other clips (M, D) -> float32 (Q, M, C), scores for ranking; a class that no clip has is never
        chosen.
    """
    num_classes = target.shape[1]
    scaler = StandardScaler().fit(features)

    def scale(features: np.ndarray) -> np.ndarray:
        return (scaler.transform(features) / math.sqrt(features.shape[1])).astype(np.float32)

    scaled = scale(features)
    rotated, dual = scaled, None
    if features.shape[1] > len(features):
        values, vectors = eigh((scaled @ scaled.T).astype(np.float64), driver="evd")  # (N,), (N, N)
        held = values > NOISE * values[-1]
        if held.any():  # clips that are all the same differ in no direction
            singular = np.sqrt(values[held])  # (K,)
            rotated = (vectors[:, held] * singular).astype(np.float32)  # (N, K)
            dual = (vectors[:, held] / singular).T  # (K, N): rotated = scaled @ (dual @ scaled).T

    def fit(values: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(Q, C', D) and (Q, C'), where C' is 1 for two classes."""
        model = LogisticRegression(solver="newton-cg", tol=TOLERANCE, max_iter=MAX_ITERATIONS, warm_start=True)
        weights, biases = [], []
        for strength in strengths:  # each begins where the one before ended
            model.set_params(C=strength).fit(rotated[rows], values[rows])
            weights.append(model.coef_)
            biases.append(model.intercept_)
        stacked = np.stack(weights)
        return (stacked if dual is None else (stacked @ dual) @ scaled), np.stack(biases)

    every = np.ones(len(features), dtype=bool)
    if not target_is_multilabel:
        classes = np.unique(target.argmax(axis=1))
        fitted = fit(target.argmax(axis=1), every) if len(classes) > 1 else None

        def predict(others: np.ndarray) -> np.ndarray:
            scores = np.zeros((len(strengths), len(others), num_classes), dtype=np.float32)
            if fitted is None:
                scores[:, :, classes] = 1
                return scores
            logits = scale(others) @ fitted[0].transpose(0, 2, 1) + fitted[1][:, None]  # (Q, M, C')
            if len(classes) == 2:
                logits = np.concatenate([np.zeros_like(logits), logits], axis=2)
            scores[:, :, classes] = softmax(logits, axis=2)
            return scores

        return predict
    # a class that all or none of the clips have cannot be fitted
    fittable = [index for index in range(num_classes) if len(np.unique(target[known[:, index], index])) == 2]
    per_class = {index: fit(target[:, index], known[:, index]) for index in fittable}

    def predict_each(others: np.ndarray) -> np.ndarray:
        scores = np.zeros((len(strengths), len(others), num_classes), dtype=np.float32)
        others = scale(others)
        for index, (weights, biases) in per_class.items():
            scores[:, :, index] = (others @ weights[:, 0].T + biases[:, 0]).T
        return scores

    return predict_each


def fit_knn(
    features: np.ndarray,
    target: np.ndarray,
    known: np.ndarray,
    target_is_multilabel: bool,
    strengths: Sequence[float] = (),
) -> Predict:
    """The ten nearest clips, by the angle between standardised features; arguments as for `fit_linear`, Q is 1.

    A class that is unknown for a neighbour counts as half.
    """
    scaler = StandardScaler().fit(features)
    neighbours = min(NEIGHBOURS, len(features))
    model = KNeighborsRegressor(neighbours, metric="cosine", weights="distance", algorithm="brute")
    model.fit(scaler.transform(features), np.where(known, target, 0.5))

    def predict(others: np.ndarray) -> np.ndarray:
        return model.predict(scaler.transform(others)).reshape(1, len(others), -1).astype(np.float32)

    return predict


PROBES: dict[str, Callable[..., Predict]] = {"linear": fit_linear, "knn": fit_knn}


@config_context(assume_finite=True, skip_parameter_validation=True)  # saves a tenth of the time of small fits
def score_probes(
    features: np.ndarray,
    target: np.ndarray,
    known: np.ndarray,
    subsets: dict[str, np.ndarray],
    splits: Sequence[tuple[Sequence[str], str]],
    inside: bool = False,
) -> ProbeScores:
    """Fit and score each kind of probe on each split; what is chosen is chosen inside the training part.

    Args:
        features: (N, D).
        target: bool (N, C).
        known: bool (N, C).
        subsets: name -> the numbers of its clips.
        splits: the subsets to fit to, and the subset to score.
        inside: also score, inside the training part, a probe that has nothing to choose.
    """
    target_is_multilabel = bool((target.sum(axis=1) != 1).any() or not known.all())
    result = ProbeScores(SCORE_NAMES[target_is_multilabel][0], {}, {}, {})
    for kind, fit in PROBES.items():
        fits = _Fits(fit, features, target, known, target_is_multilabel)
        result.test[kind], result.inside[kind] = {}, {}
        for train, test in splits:
            parts = [subsets[part] for part in train]
            strengths: Sequence[float] = STRENGTHS
            if kind == "linear" or inside:
                inner = [fits.scores(rest, held) for rest, held in inner_splits(parts, target) if fits.can_score(held)]
                means = np.mean(inner, axis=0) if inner else np.zeros(1)
                best = int(means.argmax())  # the strongest regularisation of those that are level
                result.inside[kind][test] = round(float(means[best]), 5)
                strengths = STRENGTHS[: best + 1]
            if kind == "linear":
                result.strength[test] = float(f"{strengths[-1] / features.shape[1]:.6g}")
            result.test[kind][test] = round(fits.scores(np.concatenate(parts), subsets[test], strengths)[-1], 5)
    return result


class _Fits:
    """Fits of one kind of probe. Two folds that are tested share the fit to all clips but theirs."""

    def __init__(
        self,
        fit: Callable[..., Predict],
        features: np.ndarray,
        target: np.ndarray,
        known: np.ndarray,
        target_is_multilabel: bool,
    ) -> None:
        self.fit = fit
        self.features, self.target, self.known = features, target, known
        self.target_is_multilabel = target_is_multilabel
        self.done: dict[tuple[bytes, int], Predict] = {}

    def can_score(self, clips: np.ndarray) -> bool:
        """Whether there is anything to find in them."""
        return not self.target_is_multilabel or bool((self.target[clips] & self.known[clips]).any())

    def scores(self, fitted: np.ndarray, held: np.ndarray, strengths: Sequence[float] = STRENGTHS) -> list[float]:
        """Of a fit to some clips, on others, by each strength."""
        fitted = np.sort(fitted)
        key = fitted.tobytes(), len(strengths)
        if key not in self.done:
            self.done[key] = self.fit(
                self.features[fitted], self.target[fitted], self.known[fitted], self.target_is_multilabel, strengths
            )
        target, known = self.target[held], self.known[held]
        predicted = self.done[key](self.features[held])
        if self.target_is_multilabel:
            return [multilabel_scores(scores, target, known).mean_average_precision for scores in predicted]
        return [accuracy(scores, target.argmax(axis=1)) for scores in predicted]


def inner_splits(parts: Sequence[np.ndarray], target: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Clips to fit to and clips to hold out, inside the training part.

    Several subsets, such as folds, are held out in turn, so that the clips of one recording stay together, until
    `ENOUGH_CLIPS` are. A single one is dealt into `INNER_PARTS`, class by class, by a fixed seed.

    Args:
        parts: numbers of the clips of each training subset.
        target: bool (N, C), of all clips.
    """
    if len(parts) == 1:
        clips = np.random.default_rng(1).permutation(parts[0])
        clips = clips[np.argsort(target[clips].argmax(axis=1), kind="stable")]
        parts = [clips[start::INNER_PARTS] for start in range(min(INNER_PARTS, len(clips)))]
    splits: list[tuple[np.ndarray, np.ndarray]] = []
    for number, held in enumerate(parts):
        if sum(len(clips) for _, clips in splits) >= ENOUGH_CLIPS:
            break
        rest = [part for other, part in enumerate(parts) if other != number]
        if rest:  # one clip alone has none
            splits.append((np.concatenate(rest), held))
    return splits
