import codecs

import pytest

from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import (
    ClipLabels,
    Label,
    PackedLabels,
    join_labels,
    read_labels,
    read_vocabulary,
    write_labels,
    write_vocabulary,
)

LABELS = [Label("/m/05zppz", "Male speech, man speaking"), Label("dog", 'A "dog"'), Label("rain", "Rain")]


def test_vocabulary_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "labels.csv"
    write_vocabulary(path, LABELS)
    assert path.read_text().splitlines()[:2] == [
        "index,mid,display_name",
        '0,/m/05zppz,"Male speech, man speaking"',
    ]
    assert read_vocabulary(path) == LABELS


def test_a_byte_order_mark_before_a_vocabulary_is_skipped(tmp_path):
    path = tmp_path / "labels.csv"
    write_vocabulary(path, LABELS)
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_vocabulary(path) == LABELS


@pytest.mark.parametrize(
    "text, message",
    [
        ("0,dog,Dog\n", "line 1: expected index,mid,display_name"),
        ("index,mid,display_name\n1,dog,Dog\n", "line 2: expected `0,key,name`"),
        ("index,mid,display_name\n0,dog,Dog\n1,dog,Dog\n", "line 3: expected `1,key,name` with a new key"),
    ],
)
def test_bad_vocabulary_is_refused(tmp_path, text, message):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ManifestError, match=message):
        read_vocabulary(path)


def test_labels_come_back_as_they_were_written(tmp_path):
    clips = [ClipLabels(["dog"]), ClipLabels(["/m/05zppz", "rain"]), ClipLabels([]), ClipLabels(["rain"], ["dog"])]
    path = tmp_path / "train.lbl"
    write_labels(path, clips)
    assert path.read_text() == "dog\n/m/05zppz,rain\n\nrain,-dog\n"
    found = read_labels(path, LABELS, 4)
    assert [(c.present, list(c.absent)) for c in found] == [(c.present, list(c.absent)) for c in clips]
    assert [row.tolist() for row in found.present] == [[1], [0, 2], [], [2]]
    assert [row.tolist() for row in found.absent] == [[], [], [], [1]]


def test_joined_labels_follow_one_another():
    clips = [ClipLabels(["dog"], ["rain"]), ClipLabels([], []), ClipLabels(["rain", "dog"], [])]
    parts = [PackedLabels(LABELS, clips[:1]), PackedLabels(LABELS), PackedLabels(LABELS, clips[1:])]
    assert list(join_labels(parts)) == clips == list(join_labels([PackedLabels(LABELS, clips)]))
    assert [len(part) for part in parts] == [1, 0, 2]


def test_bad_labels_are_refused(tmp_path):
    path = tmp_path / "train.lbl"
    path.write_text("dog\ncat,-cow\n")
    with pytest.raises(ManifestError, match="line 2: expected keys of labels.csv, found cat, cow"):
        read_labels(path, LABELS, 2)
    with pytest.raises(ManifestError, match="one line for each of the 3 clips, found 2"):
        read_labels(path, LABELS, 3)
