"""Simple classifiers on frozen features, to judge the features.

Shapes: N clips, D features, C classes.
"""

from typing import Callable

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

NEIGHBOURS = 10
MAX_ITERATIONS = 1000


def linear_probe(
    features: np.ndarray, target: np.ndarray, known: np.ndarray, target_is_multilabel: bool, test_features: np.ndarray
) -> np.ndarray:
    """Scores by logistic regression, fitted to some clips and applied to test_features.

    Args:
        features: (N, D), standardised here.
        target: bool (N, C).
        known: bool (N, C), whether it is known if a clip has a class. With several classes per clip, the regression of
            a class is fitted to the clips for which it is known.
        target_is_multilabel: fit one regression per class, instead of one that chooses among the classes.
        test_features: (M, D), of the clips to score.

    Returns:
        float32 (M, C), scores for ranking; a class that no clip has is never chosen.
    """
    scores = np.zeros((len(test_features), target.shape[1]), dtype=np.float32)
    if not target_is_multilabel:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS))
        model.fit(features, target.argmax(axis=1))
        scores[:, model.classes_] = model.predict_proba(test_features)
        return scores
    scaler = StandardScaler().fit(features)
    features, test_features = scaler.transform(features), scaler.transform(test_features)
    for index in range(target.shape[1]):
        rows = known[:, index]
        values = target[rows, index]
        if len(np.unique(values)) == 2:  # a class that all or none of the clips have cannot be fitted
            model = LogisticRegression(max_iter=MAX_ITERATIONS).fit(features[rows], values)
            scores[:, index] = model.decision_function(test_features)
    return scores


def knn_probe(
    features: np.ndarray, target: np.ndarray, known: np.ndarray, target_is_multilabel: bool, test_features: np.ndarray
) -> np.ndarray:
    """Scores by the ten nearest clips, by the angle between standardised features; arguments as in `linear_probe`.

    A class that is unknown for a neighbour counts as half.
    """
    scaler = StandardScaler().fit(features)
    neighbours = min(NEIGHBOURS, len(features))
    model = KNeighborsRegressor(neighbours, metric="cosine", weights="distance", algorithm="brute")
    model.fit(scaler.transform(features), np.where(known, target, 0.5))
    return model.predict(scaler.transform(test_features)).reshape(len(test_features), -1).astype(np.float32)


PROBES: dict[str, Callable[..., np.ndarray]] = {"linear": linear_probe, "knn": knn_probe}
