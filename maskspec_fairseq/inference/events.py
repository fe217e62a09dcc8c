"""From the scores of frames to events: a threshold, a median filter, and the stretches above.

Shapes: N frames, C classes.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from maskspec_fairseq.atomic_write import PathLike
from maskspec_fairseq.data_dir.events import DESED_COLUMNS
from maskspec_fairseq.data_dir.lines import escaped
from maskspec_fairseq.event_metrics import TimedEvent


class Frames(NamedTuple):
    """The scores of a file's frames.

    Attributes:
        scores: float (N, C), probabilities.
        times: (N,), their middles, s.
        step_sec: from one frame to the next, s.
        end_sec: length of the file, s.
    """

    scores: np.ndarray
    times: np.ndarray
    step_sec: float
    end_sec: float


class Detection(NamedTuple):
    """How events are made of scores.

    Attributes:
        threshold: a frame with a score of at least this is part of an event.
        median_sec: length of the median filter over time, s; 0 for none.
    """

    threshold: float = 0.5
    median_sec: float = 0.45  # of the baseline of DCASE task 4


def find_events(frames: Frames, labels: Sequence[str], detection: Detection) -> list[TimedEvent]:
    """The events of a file, by start. The score of one is the mean of its frames, before the filter.

    Args:
        frames: of the file; no event ends after it.
        labels: C names.
        detection: see there.
    """
    scores, times, step_sec, end_sec = frames
    active = scores >= detection.threshold  # (N, C), the median commutes with it; NaN is not active, even by 0
    size = 2 * math.floor((detection.median_sec / step_sec - 1) / 2 + 0.5) + 1  # the nearest odd number
    active = median_of_active(active, size)
    edges = np.diff(active.astype(np.int8), axis=0, prepend=0, append=0)  # (N + 1, C)
    events = []
    for number, label in enumerate(labels):
        for first, last in zip(np.flatnonzero(edges[:, number] == 1), np.flatnonzero(edges[:, number] == -1)):
            start, end = max(0.0, times[first] - step_sec / 2), min(end_sec, times[last - 1] + step_sec / 2)
            score = float(scores[first:last, number].mean())
            events.append(TimedEvent(round(float(start), 3), round(float(end), 3), label, round(score, 6)))
    return sorted(events, key=lambda event: event[:3])


def median_of_active(active: np.ndarray, size: int) -> np.ndarray:
    """The median over time of bool (N, C), in windows that end with the file: what most of a window's frames are.

    So blips at the ends are dropped as those elsewhere are, and what is active throughout a file that is shorter than
    the filter remains, neither of which scipy's ways to extend a signal gives.

    Args:
        size: of the window, an odd number of frames.
    """
    count = len(active)
    sums = np.concatenate([np.zeros((1, active.shape[1]), dtype=np.int64), active.cumsum(axis=0)])  # (N + 1, C)
    half, frames = min(size // 2, count), np.arange(count)
    first, last = np.maximum(frames - half, 0), np.minimum(frames + half + 1, count)
    return 2 * (sums[last] - sums[first]) > (last - first)[:, None]


def write_events_table(path: PathLike, rows: Iterable[tuple[str, TimedEvent]], scores: bool = False) -> None:
    """Write a table as DESED has them, which sed_eval and psds_eval read: `DESED_COLUMNS` between tabs, times in s.

    Args:
        rows: file and event.
        scores: whether to write the events' scores as a further column.
    """
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(f"{line}\n" for line in table_lines(rows, scores))


def table_lines(rows: Iterable[tuple[str, TimedEvent]], scores: bool) -> Iterator[str]:
    """The lines of `write_events_table`; tabs and line breaks in names are escaped."""
    yield "\t".join([*DESED_COLUMNS, "score"] if scores else DESED_COLUMNS)
    for file, event in rows:
        cells = [escaped(file), f"{event.start:.3f}", f"{event.end:.3f}", escaped(event.label)]
        yield "\t".join([*cells, f"{event.score:.4f}"] if scores else cells)
