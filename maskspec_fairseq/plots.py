"""Pictures of an evaluation."""

from typing import Mapping, Sequence

import matplotlib
import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

FREQUENCY_TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000, 12000)


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


def draw_reconstruction(
    spectrograms: Mapping[str, np.ndarray], centres_hz: np.ndarray, frame_sec: float, title: str, path: str
) -> None:
    """Log-mel spectrograms of a clip next to each other, on one scale of colours, that of the first.

    Args:
        spectrograms: (F, S) each, dB, by their names; NaN is grey.
        centres_hz: (F,), Hz.
        frame_sec: s from one frame to the next.
    """
    first = next(iter(spectrograms.values()))
    ticks = [hz for hz in FREQUENCY_TICKS_HZ if centres_hz[0] <= hz <= centres_hz[-1]]
    columns = len(spectrograms)
    figure, axes = plt.subplots(1, columns, figsize=(5 * columns, 4.2), sharey=True, layout="constrained")
    for axis, (name, spectrogram) in zip(axes, spectrograms.items()):
        bins, frames = spectrogram.shape
        image = axis.imshow(
            spectrogram, origin="lower", aspect="auto", cmap="magma", vmin=float(first.min()), vmax=float(first.max()),
            interpolation="nearest", extent=(0, frames * frame_sec, 0, bins),
        )  # fmt: skip
        axis.set_facecolor("0.75")  # shows through where a patch is hidden
        axis.set_title(name)
        axis.set_xlabel("time (s)")
    # imshow spans bin i from i to i + 1, so its centre is at i + 0.5
    axes[0].set_yticks(np.interp(ticks, centres_hz, np.arange(len(centres_hz)) + 0.5), [f"{hz}" for hz in ticks])
    axes[0].set_ylabel("mel bin centre (Hz)")
    figure.colorbar(image, ax=axes, label="power (dB)", pad=0.01)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    plt.close(figure)
