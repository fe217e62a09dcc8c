"""Files of events: written, read, and what is refused."""

import pytest

from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.events import Event, join_events, read_events, read_subset_events, write_events
from maskspec_fairseq.data_dir.labels import ClipLabels, Label, PackedLabels
from maskspec_fairseq.data_dir.manifest import Manifest

VOCABULARY = [Label("dog", "Dog"), Label("/m/0:x", "Colon")]
CLIPS = [[Event(0, 100, "dog"), Event(50, 1000, "/m/0:x"), Event(2**33, 2**33 + 1, "dog")], [], [Event(1, 2, "dog")]]
LABELS = PackedLabels(VOCABULARY, [ClipLabels(["dog", "/m/0:x"]), ClipLabels(["dog"]), ClipLabels(["dog"])])
MANIFEST = Manifest("/", ["a", "b", "c"], [2**34, 10, 10])


def test_events_are_read_as_they_were_written(tmp_path):
    write_events(tmp_path / "train.events", CLIPS)
    events = read_events(tmp_path / "train.events", VOCABULARY, MANIFEST, LABELS)
    assert [rows.tolist() for rows in events] == [
        [[0, 100, 0], [50, 1000, 1], [2**33, 2**33 + 1, 0]], [], [[1, 2, 0]]
    ]  # fmt: skip
    assert events.total == 4
    joined = join_events([events, events])
    assert len(joined) == 6 and joined[5].tolist() == [[1, 2, 0]] and joined.total == 8


@pytest.mark.parametrize(
    "line, message",
    [
        ("0:11:dog", "expected a start and a later end within the 10 frames of the clip, found 0 and 11; correct"),
        ("5:5:dog", "expected a start and a later end within the 10 frames of the clip, found 5 and 5"),
        ("6:5:dog", "expected a start and a later end within the 10 frames of the clip, found 6 and 5"),
        ("1:2:cat", "expected a key of labels.csv, found 'cat'; correct the event"),
        ("1:2:/m/0:x", "expected events of classes that the clip has in the .lbl, found '/m/0:x'; add it there"),
        ("1:dog", "expected start:end:key in frames, found '1:dog'; build again"),
        ("-1:2:dog", "expected start:end:key in frames, found '-1:2:dog'"),
        ("01:2:dog", "expected start:end:key in frames"),
        ("1:2:dog,", "expected start:end:key in frames, found ''"),
    ],
)
def test_lines_that_do_not_fit_are_named(tmp_path, line, message):
    path = tmp_path / "train.events"
    path.write_text(f"\n{line}\n\n")
    with pytest.raises(ManifestError, match=f"train.events, line 2: {message}"):
        read_events(path, VOCABULARY, MANIFEST, LABELS)


def test_each_clip_has_a_line(tmp_path):
    path = tmp_path / "train.events"
    path.write_text("\n")
    with pytest.raises(ManifestError, match="line 2: expected one line for each of the 3 clips, found 1; build again"):
        read_events(path, VOCABULARY, MANIFEST, LABELS)


def test_a_subset_without_events_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="events of train in .* found no such file; build the data with `maskspec-"):
        read_subset_events(str(tmp_path), "train", VOCABULARY, MANIFEST, LABELS)
    (tmp_path / "train.events").write_text("\n\n\n")
    with pytest.raises(ManifestError, match="train.events: expected events, found none in any clip; label the subset"):
        read_subset_events(str(tmp_path), "train", VOCABULARY, MANIFEST, LABELS)


@pytest.mark.parametrize("event", [Event(5, 5, "dog"), Event(-1, 3, "dog"), Event(0, 1, "a b")])
def test_what_could_not_be_read_back_is_not_written(tmp_path, event):
    with pytest.raises(ManifestError, match="line 1: expected a start, a later end and a key, found"):
        write_events(tmp_path / "x.events", [[event]])
