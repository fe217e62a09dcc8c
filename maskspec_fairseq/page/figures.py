"""The pictures of the page. Times are in s and share one axis.

Shapes: F mel bins, N rows of scores, C classes.
"""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from maskspec_fairseq.page.overview import Overview
from maskspec_fairseq.page.tags import Tags
from maskspec_fairseq.plots import decibel_limits, label_frequencies, save

MAX_CLASSES = 12  # in a picture: those with the highest scores
MAX_NAME = 28  # characters of a class
MAX_TITLE = 80
MAX_COLUMNS_WITH_NUMBERS = 30
MAX_NUMBERS = 120  # cells that have their score written in
one_at_a_time = threading.Lock()  # matplotlib is not made for several threads


def draw_overview(overview: Overview, name: str, path: Path) -> None:
    """Draw the log-mel alone into a PNG.

    Args:
        overview: of the file.
        name: of the file.
        path: of the picture.

    Raises:
        OSError: it cannot be written.
    """
    with one_at_a_time:
        figure = Figure(figsize=(11, 3.4), layout="constrained")
        figure.suptitle(_short(name, MAX_TITLE))
        axis = figure.subplots()
        _draw_log_mel(figure, axis, overview)
        axis.set_xlabel("time (s)")
        save(figure, str(path))


def draw_tags(overview: Overview, tags: Tags, threshold: float, path: Path) -> None:
    """Draw into a PNG, one below the other: the log-mel, the scores, and what reaches the threshold.

    Args:
        overview: of the file.
        tags: of the same file.
        threshold: a score.
        path: of the picture.

    Raises:
        OSError: it cannot be written.
    """
    shown = highest_classes(tags.scores)
    with one_at_a_time:
        height = 0.3 + 0.23 * len(shown)
        figure = Figure(figsize=(11, 3.6 + 2 * height), layout="constrained")
        ratios = {"height_ratios": [2.2, height, height]}
        axes = figure.subplots(3, sharex=True, gridspec_kw=ratios)
        figure.suptitle(_short(tags.file, MAX_TITLE))
        _draw_log_mel(figure, axes[0], overview)
        names = [_short(tags.names[column]) for column in shown]
        _draw_scores(figure, axes[1], tags, shown)
        _draw_bars(axes[2], tags, shown, threshold)
        for axis in axes[1:]:
            axis.set_yticks(np.arange(len(shown)) + 0.5, names, fontsize="small")
            axis.set_ylim(len(shown), 0)
        axes[2].set_xlabel("time (s)")
        axes[2].set_xlim(0, overview.end_sec)
        save(figure, str(path))


def highest_classes(scores: np.ndarray) -> list[int]:
    """Which columns of scores (N, C) a picture shows: those with the highest maxima, the highest first."""
    best = np.nan_to_num(scores, nan=-1).max(axis=0)  # (C,)
    return np.argsort(-best, kind="stable")[:MAX_CLASSES].tolist()


def _draw_log_mel(figure: Figure, axis: Axes, overview: Overview) -> None:
    bins, columns = overview.decibels.shape
    lowest, highest = decibel_limits(overview.decibels)
    image = axis.imshow(
        overview.decibels, vmin=lowest, vmax=highest, origin="lower", aspect="auto", cmap="magma",
        interpolation="nearest", extent=(0, columns * overview.column_sec, 0, bins),
    )  # fmt: skip
    label_frequencies(axis, overview.centres_hz, fontsize="small")
    axis.set_xlim(0, overview.end_sec)
    axis.set_title("log-mel", loc="left", fontsize="medium")
    axis.set_ylabel("Hz")
    figure.colorbar(image, ax=axis, label="dB", pad=0.01)


def _draw_scores(figure: Figure, axis: Axes, tags: Tags, shown: Sequence[int]) -> None:
    """The heat map. Windows that overlap meet in the middle of what they share."""
    between = (tags.starts[1:] + tags.ends[:-1]) / 2
    edges = np.concatenate([tags.starts[:1], between, tags.ends[-1:]])
    scores = tags.scores[:, shown].T  # (shown, N)
    image = axis.pcolormesh(edges, np.arange(len(shown) + 1), scores, cmap="viridis", vmin=0, vmax=1)
    axis.set_facecolor("0.75")  # shows through where a score is NaN
    axis.set_title("score", loc="left", fontsize="medium")
    figure.colorbar(image, ax=axis, label="probability", pad=0.01)
    if scores.size > MAX_NUMBERS:
        return
    for (row, column), score in np.ndenumerate(scores):
        if edges[column + 1] - edges[column] < (edges[-1] - edges[0]) / MAX_COLUMNS_WITH_NUMBERS:
            continue  # no room
        axis.text(
            (edges[column] + edges[column + 1]) / 2, row + 0.5, f"{score:.2f}", ha="center", va="center",
            fontsize="x-small", color="black" if score > 0.6 else "white",
        )  # fmt: skip


def _draw_bars(axis: Axes, tags: Tags, shown: Sequence[int], threshold: float) -> None:
    """A bar per class, where its score reaches the threshold."""
    rows = {tags.names[column]: row for row, column in enumerate(shown)}
    for event in tags.events(threshold):
        if event.label in rows:
            row = rows[event.label]
            axis.add_patch(
                Rectangle((event.start, row + 0.15), event.end - event.start, 0.7, color=f"C{row % 10}", linewidth=0)
            )
    axis.grid(alpha=0.3, axis="x")
    axis.set_title(f"score of at least {threshold:.2f}", loc="left", fontsize="medium")


def _short(name: str, length: int = MAX_NAME) -> str:
    name = "".join(char if char.isprintable() else " " for char in name)
    return name if len(name) <= length else f"{name[: length - 1]}…"
