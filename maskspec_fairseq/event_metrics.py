"""F1 of sound events in time, by segments and by events. No torch here.

Source: Mesaros, Heittola and Virtanen, "Metrics for polyphonic sound event detection", Applied Sciences 6(6), 2016, and
its implementation sed_eval 0.2.1, which gives the same numbers. It is not a dependency: dcase_util, which it needs,
imports pkg_resources, which setuptools 82 and newer do not have.

Shapes: R events of the truth, P predicted ones.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SEGMENT_SEC = 1.0  # s
COLLAR_SEC = 0.2  # s, by which a start may differ, and an end
COLLAR_SHARE = 0.5  # of the length of the true event, by which an end may differ if that is more


class TimedEvent(NamedTuple):
    """A sound from start to end, s, with its label and, if it is predicted, its score from 0 to 1."""

    start: float
    end: float
    label: str
    score: float = math.nan


class Counts(NamedTuple):
    """Of one class: correct ones, and how many the truth has and how many are predicted."""

    correct: int = 0
    true: int = 0
    predicted: int = 0

    def __add__(self, other: "Counts") -> "Counts":  # type: ignore[override]  # not the concatenation of tuples
        return Counts(*(a + b for a, b in zip(self, other)))

    @property
    def f1(self) -> float:
        """2 correct / (true + predicted); NaN if there is neither."""
        together = self.true + self.predicted
        return 2 * self.correct / together if together else math.nan


Clips = Sequence[Sequence[TimedEvent]]


def event_scores(truth: Clips, predicted: Clips) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Segment and event F1 of all classes together (micro), and the mean over classes (macro).

    Args:
        truth: the events of each clip.
        predicted: those found in it.

    Returns:
        `segment_f1`, `segment_f1_macro`, `event_f1` and `event_f1_macro`, rounded to five digits; and `segment_f1` and
        `event_f1` by label, of the labels that are in the truth or are predicted.

    Raises:
        ValueError: other numbers of clips, or no event in the truth.
    """
    if len(truth) != len(predicted):
        raise ValueError(f"expected predictions for {len(truth)} clips, found {len(predicted)}")
    if not any(truth):
        raise ValueError("expected events in the truth, found none; score a subset with events")
    scores: dict[str, float] = {}
    classes: dict[str, dict[str, float]] = defaultdict(dict)
    for name, count in (("segment_f1", _count_segments), ("event_f1", _count_events)):
        counts: dict[str, Counts] = defaultdict(Counts)
        for true, found in zip(truth, predicted):
            for label in sorted({event.label for event in (*true, *found)}):
                of_label = ([event for event in events if event.label == label] for events in (true, found))
                counts[label] += count(*of_label)
        scores[name] = round(sum(counts.values(), Counts()).f1, 5)
        scores[f"{name}_macro"] = round(float(np.mean([of_label.f1 for of_label in counts.values()])), 5)
        for label in sorted(counts):
            classes[label][name] = round(counts[label].f1, 5)
    return scores, dict(classes)


def _count_segments(truth: Sequence[TimedEvent], predicted: Sequence[TimedEvent]) -> Counts:
    """A segment of `SEGMENT_SEC` counts if an event is in it anywhere."""
    true, found = (
        {
            number
            for event in events
            for number in range(math.floor(event.start / SEGMENT_SEC), math.ceil(event.end / SEGMENT_SEC))
        }
        for events in (truth, predicted)
    )
    return Counts(len(true & found), len(true), len(found))


def _count_events(truth: Sequence[TimedEvent], predicted: Sequence[TimedEvent]) -> Counts:
    """An event is correct if start and end are within their collars; each counts once, paired as well as possible."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    if not (truth and predicted):
        return Counts(0, len(truth), len(predicted))
    fits = np.array([[_fits(true, found) for found in predicted] for true in truth])  # (R, P)
    pairs = maximum_bipartite_matching(csr_matrix(fits), perm_type="column")  # (R,), -1 without a partner
    return Counts(int((pairs >= 0).sum()), len(truth), len(predicted))


def _fits(true: TimedEvent, found: TimedEvent) -> bool:
    of_end = max(COLLAR_SEC, COLLAR_SHARE * (true.end - true.start))
    return abs(found.start - true.start) <= COLLAR_SEC and abs(found.end - true.end) <= of_end
