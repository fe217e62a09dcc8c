"""Pictures of an evaluation."""

from typing import Sequence

import matplotlib
import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def draw_confusion(target: np.ndarray, predicted: np.ndarray, names: Sequence[str], path: str) -> None:
    """Confusion matrix of class indices (N,), in clips."""
    side = 3 + 0.35 * len(names)
    figure, axis = plt.subplots(figsize=(side + 1, side), layout="constrained")
    ConfusionMatrixDisplay.from_predictions(
        target, predicted, labels=np.arange(len(names)), display_labels=list(names), xticks_rotation="vertical",
        cmap="magma_r", ax=axis, colorbar=False,
    )  # fmt: skip
    axis.set_title(f"{(target == predicted).mean():.1%} of {len(target)} clips")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_class_scores(scores: np.ndarray, names: Sequence[str], score: str, path: str) -> None:
    """A bar for each class (C,), the best on top; classes without a score (NaN) are left out."""
    scored = [index for index in np.argsort(scores) if not np.isnan(scores[index])]
    figure, axis = plt.subplots(figsize=(7, 1.5 + 0.16 * len(scored)), layout="constrained")
    axis.barh([names[index] for index in scored], scores[scored], color="C0")
    axis.tick_params(axis="y", labelsize=6)
    axis.margins(y=0.01)
    axis.set_xlim(0, 1)
    axis.set_xlabel(score)
    figure.savefig(path, dpi=110)
    plt.close(figure)
