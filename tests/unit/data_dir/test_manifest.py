import os
import pickle

import numpy as np
import pytest

from maskspec_fairseq.atomic_write import write_together
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
from maskspec_fairseq.data_dir.manifest import Manifest, join_manifests, read_manifest, write_manifest, write_rejected
from maskspec_fairseq.data_dir.packed import PackedRows, PackedStrings

NAMES = ["a b/c, d.wav", "Füße/日本.flac", "plain.ogg"]
LABELS = [Label("/m/05zppz", "Male speech, man speaking"), Label("dog", 'A "dog"'), Label("rain", "Rain")]


def test_packed_strings_are_a_sequence_like_a_list():
    strings = ["", *NAMES, "", NAMES[0]]
    packed = PackedStrings(iter(strings))
    assert list(packed) == strings and len(packed) == 6 and packed == strings and strings == packed
    assert [packed[index] for index in range(-6, 6)] == strings * 2
    assert packed[np.int64(2)] == "Füße/日本.flac" and packed.index("plain.ogg") == 3 and "other" not in packed
    for index in (6, -7):
        with pytest.raises(IndexError):
            packed[index]
    assert packed != strings[:-1] and packed != [*strings[:-1], "x"] and packed != "".join(strings)
    assert PackedStrings() == [] and PackedStrings("abc") == PackedStrings(["a", "b", "c"])


def test_packed_strings_grow_and_travel():
    packed = PackedStrings(NAMES[:1])
    packed.extend(PackedStrings(NAMES[1:]))
    packed.append("last")
    assert packed == [*NAMES, "last"]
    again = pickle.loads(pickle.dumps(packed))
    assert again == packed and type(again) is PackedStrings
    again.append("more")
    assert len(packed) == 4


def test_packed_rows_are_a_sequence_of_arrays():
    rows = [[3, 1], [], [2], [0, 526, 7]]
    packed = PackedRows(rows[:1])
    packed.extend(PackedRows(rows[1:]))
    assert [row.tolist() for row in packed] == rows and packed[-1].dtype == np.int32
    assert packed.values.tolist() == [3, 1, 2, 0, 526, 7] and packed.lengths.tolist() == [2, 0, 1, 3]
    assert len(PackedRows()) == len(PackedRows().values) == len(PackedRows().lengths) == 0
    with pytest.raises(IndexError):
        packed[4]
    packed[0][0] = 9  # a copy
    assert [row.tolist() for row in pickle.loads(pickle.dumps(packed))] == rows


def test_joined_manifests_name_the_same_files(tmp_path):
    roots = [tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a", tmp_path / "c"]
    parts = [Manifest(str(root), [*NAMES, f"{n}.wav"], [n + 1] * 4) for n, root in enumerate(roots)]
    joined = join_manifests(parts)
    assert [os.path.normpath(joined.full_path(index)) for index in range(16)] == [
        part.full_path(index) for part in parts for index in range(4)
    ]
    assert joined.frames.tolist() == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 and joined.root == str(tmp_path)
    assert [len(part) for part in parts] == [4] * 4 and join_manifests(parts[:1]) is parts[0]


def test_manifest_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "train.tsv"
    write_manifest(path, Manifest(str(tmp_path), NAMES, [1, 22, 333]))
    assert path.read_text(encoding="utf-8").splitlines()[:2] == [str(tmp_path), "a b/c, d.wav\t1"]
    manifest = read_manifest(path)
    assert (manifest.root, manifest.paths, manifest.frames.tolist()) == (str(tmp_path), NAMES, [1, 22, 333])
    assert manifest.full_path(2) == str(tmp_path / "plain.ogg") and len(manifest) == 3


@pytest.mark.parametrize(
    "line",
    [
        "a.wav",
        "a.wav\t",
        "a.wav\t0",
        "a.wav\t-5",
        "a.wav\tlong",
        "a.wav\t5\t5",
        "a.wav\t²",
        "a.wav\t9999999999999999999",
        "",
    ],
)
def test_bad_line_is_named_by_its_number(tmp_path, line):
    path = tmp_path / "train.tsv"
    path.write_text(f"{tmp_path}\nfine.wav\t100\n{line}\n")
    with pytest.raises(ManifestError, match=r"train.tsv, line 3: expected `path<TAB>frames`"):
        read_manifest(path)


def test_missing_manifest_says_what_is_there(tmp_path):
    with pytest.raises(ManifestError, match="expected a manifest at .*train.tsv, found none in that directory; write"):
        read_manifest(tmp_path / "train.tsv")
    for name in ("fold1.tsv", "fold2.tsv", "fold1.rejected.tsv"):
        (tmp_path / name).touch()
    with pytest.raises(ManifestError, match="found only the subsets fold1, fold2 there"):
        read_manifest(tmp_path / "train.tsv")


def test_empty_manifest_and_moved_audio_are_refused(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text(f"{tmp_path}\n")
    with pytest.raises(ManifestError, match="at least one clip, found no clip"):
        read_manifest(path)
    path.write_text("/nowhere/at/all\na.wav\t5\n")
    with pytest.raises(ManifestError, match="line 1: expected the directory .* found '/nowhere/at/all'"):
        read_manifest(path)


def test_vocabulary_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "labels.csv"
    write_vocabulary(path, LABELS)
    assert path.read_text().splitlines()[:2] == [
        "index,mid,display_name",
        '0,/m/05zppz,"Male speech, man speaking"',
    ]
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


def test_rejected_files_stay_one_a_line(tmp_path):
    write_rejected(tmp_path / "r.tsv", [("a\nb.wav", "tab\tor line\nbreak"), ("\udcff.wav", "not UTF-8")])
    assert (tmp_path / "r.tsv").read_text().splitlines() == ["a b.wav\ttab or line break", "\\udcff.wav\tnot UTF-8"]


def test_files_are_written_together_or_not_at_all(tmp_path):
    (tmp_path / "one").write_text("old")
    (tmp_path / "stale").write_text("old")

    def interrupted(path):
        path.write_text("ha")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_together(tmp_path, {"one": lambda path: path.write_text("new"), "two": interrupted}, ["stale"])
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"one": "old", "stale": "old"}
    write_together(tmp_path, {"one": lambda path: path.write_text("new")}, ["stale", "never there"])
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"one": "new"}
