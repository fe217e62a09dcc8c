"""Pictures. They are drawn on `matplotlib.figure.Figure` objects, which need neither a display nor a backend."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

DPI = 110
FREQUENCY_TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000, 12000)


def save(figure: Figure, path: str) -> None:
    """Write a picture. Characters that its font lacks, such as those of a file called in Japanese, are boxes in it."""
    for text in figure.findobj(Text):  # a $ in the name of a file or a class is a $, and begins no formula
        if text.get_wrap():  # lines are broken by the width of the formula, whatever parse_math says
            text.set_text(text.get_text().replace("$", r"\$"))
        else:
            text.set_parse_math(False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from")
        figure.savefig(path, dpi=DPI)


def draw_confusion(target: np.ndarray, predicted: np.ndarray, names: Sequence[str], title: str, path: str) -> None:
    """Draw the confusion matrix, in clips, into a PNG.

    Args:
        target: (N,), class indices.
        predicted: (N,), class indices.
        names: of the C classes.
        title: of the picture.
        path: of the picture.

    Raises:
        OSError: it cannot be written.
    """
    from sklearn.metrics import ConfusionMatrixDisplay  # here, because it takes a second to import

    side = 3 + 0.35 * len(names)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axis = figure.subplots()
    ConfusionMatrixDisplay.from_predictions(
        target, predicted, labels=np.arange(len(names)), display_labels=list(names), xticks_rotation="vertical",
        cmap="magma_r", ax=axis, colorbar=False,
    )  # fmt: skip
    axis.set_title(title, wrap=True, fontsize="medium")
    save(figure, path)


def draw_class_scores(scores: np.ndarray, names: Sequence[str], score: str, title: str, path: str) -> None:
    """Draw a bar per class into a PNG, the best on top; classes without a score are left out.

    Args:
        scores: (C,), from 0 to 1, NaN for a class without a score.
        names: of the C classes.
        score: the name of the score.
        title: of the picture.
        path: of the picture.

    Raises:
        OSError: it cannot be written.
    """
    scored = [index for index in np.argsort(scores) if not np.isnan(scores[index])]
    figure = Figure(figsize=(7, 1.5 + 0.16 * len(scored)), layout="constrained")
    axis = figure.subplots()
    axis.barh([names[index] for index in scored], scores[scored], color="C0")
    axis.tick_params(axis="y", labelsize=6)
    axis.margins(y=0.01)
    axis.set_xlim(0, 1)
    axis.set_xlabel(score)
    axis.set_title(title, wrap=True, fontsize="medium")
    save(figure, path)


def draw_curves(curves: Mapping[tuple[str, str], Sequence[tuple[float, float]]], title: str, path: str) -> None:
    """Draw the curves of a run into a PNG: training and each held-out subset in a colour of its own.

    The losses share a panel; a score, accuracy or mAP, has another one below.

    Args:
        curves: (kind, name) -> (epoch, value), ...; the kind is "train_inner" or a subset's name, the name is "loss",
            "baseline_loss" or that of a score.
        title: of the picture.
        path: of the picture.

    Raises:
        OSError: it cannot be written.
    """
    subsets = [kind for kind in dict.fromkeys(kind for kind, _ in curves) if kind != "train_inner"]
    # only pretraining has a baseline
    loss = "squared error per masked value" if any(name == "baseline_loss" for _, name in curves) else "loss"
    panels = list(dict.fromkeys(loss if name.endswith("loss") else name for _, name in curves))
    figure = Figure(figsize=(9, 1.5 + 3.5 * len(panels)), layout="constrained")
    axes = dict(zip(panels, figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]))
    for (kind, name), curve in curves.items():
        is_baseline = name == "baseline_loss"
        color = f"C{1 + subsets.index(kind)}" if kind in subsets else "C0"
        label = f"held out ({kind})" if kind in subsets else "training"
        label += ", always predicting the mean" if is_baseline else ""
        marker = "." if len(curve) == 1 or (kind in subsets and not is_baseline) else None
        style = "--" if is_baseline else "-"
        axis = axes[loss if name.endswith("loss") else name]
        axis.plot(*zip(*curve), label=label, color=color, marker=marker, linestyle=style)
    for name, axis in axes.items():
        axis.set_ylabel(name)
        axis.set_ylim(bottom=0, top=None if name == loss else 1)
        axis.grid(alpha=0.3)
        axis.legend()
    axis.set_xlabel("epochs")
    figure.suptitle(title)
    save(figure, path)


def draw_sweep(result: Mapping[str, Any], path: str) -> None:
    """Draw the scores of a sweep over the layers into a PNG, a panel per kind of probe.

    A pooling has a colour; the encoder's line is solid, that of random weights dashed. Statistics of the log-mel are
    gray lines across.

    Args:
        result: what `sweep` returns, with the names `checkpoint` and `data` for the title.
        path: of the picture.

    Raises:
        OSError: it cannot be written.
    """
    panels = {"linear": "linear probe", "knn": "ten nearest neighbours"}
    styles = {"embeddings": "-", "random encoder": "--"}
    curves: dict[tuple[str, str, str], list[tuple[Optional[int], float]]] = {}
    for readout in result["readouts"]:
        for kind in panels:
            curve = curves.setdefault((kind, readout["features"], readout["pool"]), [])
            curve.append((readout["layer"], float(np.mean(list(readout["scores"][kind].values())))))
    figure = Figure(figsize=(13, 5.5), layout="constrained")
    axes = dict(zip(panels, figure.subplots(1, 2, sharey=True)))
    statistics = list(dict.fromkeys(pool for _, features, pool in curves if features not in styles))
    for (kind, features, pool), curve in curves.items():
        if features in styles:
            color = f"C{result['pools'].index(pool)}"
            label = f"{pool}{', random weights' if features == 'random encoder' else ''}"
            axes[kind].plot(*zip(*curve), styles[features], color=color, marker=".", label=label)
        else:
            dots = (0, (1, 1 + 2 * statistics.index(pool)))
            axes[kind].axhline(curve[0][1], color="0.3", linestyle=dots, label=f"{features} {pool}")
    for kind, axis in axes.items():
        axis.set_title(panels[kind])
        axis.set_xlabel("layer")
        axis.set_xticks(result["layers"])
        axis.grid(alpha=0.3)
    axes["linear"].set_ylabel(result["score"])
    figure.legend(*axes["linear"].get_legend_handles_labels(), loc="outside right upper", fontsize="small")
    figure.suptitle(f"{result['checkpoint']} on {result['data']}", fontsize="medium", wrap=True)
    save(figure, path)


def draw_reconstruction(
    spectrograms: Mapping[str, np.ndarray], centres_hz: np.ndarray, frame_sec: float, title: str, path: str
) -> None:
    """Draw log-mel spectrograms of a clip next to each other into a PNG, on one scale of colours, that of the first.

    Args:
        spectrograms: name -> (F, S), dB; NaN is grey.
        centres_hz: (F,), Hz, of the mel bins.
        frame_sec: s from one frame to the next.
        title: of the picture.
        path: of the picture.

    Raises:
        OSError: it cannot be written.
    """
    lowest, highest = decibel_limits(next(iter(spectrograms.values())))
    columns = len(spectrograms)
    figure = Figure(figsize=(5 * columns, 4.2), layout="constrained")
    axes = figure.subplots(1, columns, sharey=True, squeeze=False)[0]
    for axis, (name, spectrogram) in zip(axes, spectrograms.items()):
        bins, frames = spectrogram.shape
        image = axis.imshow(
            spectrogram, origin="lower", aspect="auto", cmap="magma", vmin=lowest, vmax=highest,
            interpolation="nearest", extent=(0, frames * frame_sec, 0, bins),
        )  # fmt: skip
        axis.set_facecolor("0.75")  # shows through where a patch is hidden
        axis.set_title(name)
        axis.set_xlabel("time (s)")
    label_frequencies(axes[0], centres_hz)
    axes[0].set_ylabel("mel bin centre (Hz)")
    figure.colorbar(image, ax=axes, label="power (dB)", pad=0.01)
    figure.suptitle(title)
    save(figure, path)


def decibel_limits(decibels: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest value of a spectrogram in dB, at least 10 dB apart.

    The rounding errors of digital silence are one colour then.
    """
    highest = float(decibels.max())
    return min(float(decibels.min()), highest - 10), highest


def label_frequencies(axis: Axes, centres_hz: np.ndarray, **text: Any) -> None:
    """Write frequencies along the mel bins of an image.

    Args:
        axis: with an image that spans bin i from i to i + 1, so that its centre is at i + 0.5.
        centres_hz: (F,), Hz, of the mel bins.
        text: how it is written, see `matplotlib.text.Text`.
    """
    ticks = [hz for hz in FREQUENCY_TICKS_HZ if centres_hz[0] <= hz <= centres_hz[-1]]
    axis.set_yticks(np.interp(ticks, centres_hz, np.arange(len(centres_hz)) + 0.5), [f"{hz}" for hz in ticks], **text)
