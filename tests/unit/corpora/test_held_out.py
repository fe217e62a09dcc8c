"""Which clips are held out."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskspec_fairseq.corpora.held_out import by_hash, hold_out
from maskspec_fairseq.data_dir import ManifestError

SPEAKER = re.compile(r"(speaker\d+)_")


def test_every_class_has_its_part():
    classes = {f"{name}/{n}.wav": [name] for name, count in (("a", 40), ("b", 10), ("c", 2)) for n in range(count)}
    held = Counter(path[0] for path in hold_out(classes, 0.1, None))
    assert held == {"a": 4, "b": 1, "c": 1}


def test_files_without_classes_are_taken_by_their_hash_alone():
    classes = {f"{n}.wav": () for n in range(20)}
    assert hold_out(classes, 0.25, None) == set(sorted(classes, key=by_hash)[:5])


def test_a_group_is_on_one_side_and_each_class_has_some_held_out():
    classes = {
        f"{word}/speaker{n}_{take}.wav": [word] for word in ("yes", "no") for n in range(10) for take in range(3)
    }
    held = hold_out(classes, 0.2, SPEAKER)
    speakers = {SPEAKER.search(path)[1] for path in held}
    assert len(speakers) == 2 and held == {path for path in classes if SPEAKER.search(path)[1] in speakers}


def test_a_class_of_one_group_stays_in_train_with_a_note(capsys):
    classes = {**{f"a/{n}.wav": ["a"] for n in range(4)}, "b/speaker1_1.wav": ["b"], "b/speaker1_2.wav": ["b"]}
    assert {path[0] for path in hold_out(classes, 0.5, SPEAKER)} == {"a"}
    output = capsys.readouterr().out
    assert "note: 1 classes have a single file or group, which stays in train; nothing of them is held out: b" in output
    assert "note: --group-by matches all but 4 files, 'a/0.wav' first; each is by itself" in output
    with pytest.raises(ManifestError, match="found a single one in each, such as"):
        hold_out({"a/1.wav": ["a"], "b/1.wav": ["b"]}, 0.5, None)


CORPORA = st.lists(
    st.tuples(st.sets(st.sampled_from("abc"), max_size=2), st.integers(0, 5)), min_size=2, max_size=30
)  # classes and speaker of each file


@given(CORPORA, st.floats(0, 1))
def test_nothing_that_can_be_served_is_left_out_and_no_class_is_emptied(files, part):
    classes = {f"speaker{speaker}_{n}.wav": sorted(names) for n, (names, speaker) in enumerate(files)}
    groups = {path: path.split("_")[0] for path in classes}
    try:
        held = hold_out(classes, part, SPEAKER)
    except ManifestError:
        held = set()
    assert {groups[path] for path in held}.isdisjoint(groups[path] for path in classes.keys() - held)

    def labels(paths):
        return {name for path in paths for name in classes[path] or [""]}

    assert labels(classes) == labels(classes.keys() - held)
    for group in set(groups.values()):  # none that would serve a class and empty none could have been added
        rest = {path for path in classes.keys() - held if groups[path] != group}
        more = {path for path in classes.keys() - held if groups[path] == group}
        if labels(more) - labels(held):
            assert labels(rest) != labels(classes)
