"""Simple classifiers on frozen features, to judge what the features are worth.

Shapes: N clips, D features, C classes.
"""

from typing import Callable, Dict

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

NEIGHBOURS = 10
MAX_ITERATIONS = 1000


def linear_probe(
    features: np.ndarray, target: np.ndarray, known: np.ndarray, target_is_multilabel: bool, others: np.ndarray
) -> np.ndarray:
    """Logistic regression, fitted to some clips and asked of others.

    Args:
        features: (N, D), standardised here.
        target: bool (N, C).
        known: bool (N, C), whether a clip's class is known; only those fit a class of several.
        target_is_multilabel: a regression for every class, or one that chooses among them.
        others: (M, D).

    Returns:
        float32 (M, C), scores that rank; a class that no clip has is never chosen.
    """
    scores = np.zeros((len(others), target.shape[1]), dtype=np.float32)
    if not target_is_multilabel:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS))
        model.fit(features, target.argmax(axis=1))
        scores[:, model.classes_] = model.predict_proba(others)
        return scores
    scaler = StandardScaler().fit(features)
    features, others = scaler.transform(features), scaler.transform(others)
    for index in range(target.shape[1]):
        rows = known[:, index]
        values = target[rows, index]
        if len(np.unique(values)) == 2:  # a class that all or none of the clips have cannot be told
            model = LogisticRegression(max_iter=MAX_ITERATIONS).fit(features[rows], values)
            scores[:, index] = model.decision_function(others)
    return scores


def knn_probe(
    features: np.ndarray, target: np.ndarray, known: np.ndarray, target_is_multilabel: bool, others: np.ndarray
) -> np.ndarray:
    """What the ten nearest clips are, by the angle between standardised features; arguments as in `linear_probe`.

    What is unknown of a neighbour counts as half.
    """
    scaler = StandardScaler().fit(features)
    neighbours = min(NEIGHBOURS, len(features))
    model = KNeighborsRegressor(neighbours, metric="cosine", weights="distance", algorithm="brute")
    model.fit(scaler.transform(features), np.where(known, target, 0.5))
    return model.predict(scaler.transform(others)).reshape(len(others), -1).astype(np.float32)


PROBES: Dict[str, Callable[..., np.ndarray]] = {"linear": linear_probe, "knn": knn_probe}
