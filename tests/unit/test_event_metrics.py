"""F1 of events against hand-worked examples, and against what sed_eval 0.2.1 gave."""

import math

import numpy as np
import pytest

from maskspec_fairseq.event_metrics import TimedEvent, event_scores

DOG, RAIN = "dog", "rain"


def events(*rows):
    return [TimedEvent(*row) for row in rows]


def test_a_hand_worked_example():
    """Truth: dog in segments 1; rain in 3, 4, 5. Found: dog in 1 and 2; rain in 3, 4, 5."""
    truth = [events((1.0, 2.0, DOG), (3.0, 6.0, RAIN))]
    found = [events((1.1, 2.1, DOG), (3.5, 6.0, RAIN))]
    scores, classes = event_scores(truth, found)
    assert scores["segment_f1"] == pytest.approx(2 * 4 / (4 + 5), abs=1e-5)
    assert scores["segment_f1_macro"] == pytest.approx((2 / 3 + 1) / 2, abs=1e-5)
    assert (scores["event_f1"], scores["event_f1_macro"]) == (0.5, 0.5)  # the rain starts 0.5 s late
    assert classes[DOG]["event_f1"] == 1 and classes[RAIN] == {"segment_f1": 1.0, "event_f1": 0.0}


@pytest.mark.parametrize(
    "start, end, correct",
    [
        (1.2, 5.0, True),  # 200 ms late
        (1.21, 5.0, False),
        (0.8, 5.0, True),
        (1.0, 7.0, True),  # the end may differ by half of the 4 s
        (1.0, 7.01, False),
        (1.0, 3.0, True),
        (1.0, 2.99, False),
    ],
)
def test_the_collars(start, end, correct):
    scores, _ = event_scores([events((1.0, 5.0, DOG))], [events((start, end, DOG))])
    assert scores["event_f1"] == float(correct)


def test_the_end_of_a_short_event_may_differ_by_200_ms():
    for end, correct in ((1.29, 1.0), (1.31, 0.0)):
        assert event_scores([events((1.0, 1.1, DOG))], [events((1.0, end, DOG))])[0]["event_f1"] == correct


def test_each_event_is_counted_once_and_paired_as_well_as_possible():
    """The first prediction fits both of the truth, the second only the first of them: greedily one would be left."""
    truth = [events((1.0, 2.0, DOG), (1.3, 2.0, DOG))]
    found = [events((1.15, 2.0, DOG), (0.9, 2.0, DOG))]
    assert event_scores(truth, found)[0]["event_f1"] == 1
    assert event_scores([truth[0][:1]], [events((1.0, 2.0, DOG), (1.1, 2.0, DOG))])[0]["event_f1"] == pytest.approx(
        2 / 3, abs=1e-5
    )


def test_clips_are_not_confused_and_classes_that_are_nowhere_are_left_out():
    truth = [events((0.0, 1.0, DOG)), []]
    assert event_scores(truth, [[], events((0.0, 1.0, DOG))])[0] == {
        "segment_f1": 0, "segment_f1_macro": 0, "event_f1": 0, "event_f1_macro": 0
    }  # fmt: skip
    scores, classes = event_scores(truth, [events((0.0, 1.0, DOG)), []])
    assert list(classes) == [DOG] and scores["event_f1_macro"] == 1
    assert event_scores(truth, [[], []])[0]["segment_f1"] == 0


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="expected predictions for 2 clips, found 1"):
        event_scores([[], []], [[]])
    with pytest.raises(ValueError, match="expected events in the truth, found none; score a subset with events"):
        event_scores([[]], [events((0.0, 1.0, DOG))])


def random_clips(seed):
    """40 clips of 10 s, and predictions of them: shifted, lost, invented, of the wrong class."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(40):
        clip, guess = [], []
        for _ in range(rng.integers(0, 5)):
            start = round(float(rng.uniform(0, 8)), 3)
            end = round(start + float(rng.uniform(0.1, 2)), 3)
            label = "abcd"[rng.integers(4)]
            clip.append(TimedEvent(start, end, label))
            if rng.random() < 0.8:
                first = round(max(0.0, start + float(rng.normal(0, 0.12))), 3)
                last = round(max(first + 0.05, end + float(rng.normal(0, 0.3))), 3)
                guess.append(TimedEvent(first, last, label if rng.random() < 0.9 else "abcd"[rng.integers(4)]))
        truth.append(clip)
        found.append(guess)
    return truth, found


# of sed_eval 0.2.1 (SegmentBasedMetrics of 1 s; EventBasedMetrics with t_collar 0.2, percentage_of_length 0.5), clip by
# clip: overall F, and the mean of the classes' F
SED_EVAL = {
    0: [0.759857, 0.75817, 0.703448, 0.698731],
    1: [0.779661, 0.758954, 0.621212, 0.595382],
    2: [0.737705, 0.735095, 0.604651, 0.596972],
}


@pytest.mark.parametrize("seed", SED_EVAL)
def test_sed_eval_gives_the_same(seed):
    scores, _ = event_scores(*random_clips(seed))
    assert list(scores.values()) == pytest.approx(SED_EVAL[seed], abs=1e-5)
    assert all(math.isfinite(value) and 0 < value < 1 for value in scores.values())
