import pytest

from maskspec_fairseq.manifest import (
    ClipLabels,
    Label,
    Manifest,
    ManifestError,
    read_labels,
    read_manifest,
    read_vocabulary,
    write_labels,
    write_manifest,
    write_rejected,
    write_together,
    write_vocabulary,
)

NAMES = ["a b/c, d.wav", "Füße/日本.flac", "plain.ogg"]
LABELS = [Label("/m/05zppz", "Male speech, man speaking"), Label("dog", 'A "dog"'), Label("rain", "Rain")]


def test_manifest_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "train.tsv"
    write_manifest(path, Manifest(str(tmp_path), NAMES, [1, 22, 333]))
    assert path.read_text(encoding="utf-8").splitlines()[:2] == [str(tmp_path), "a b/c, d.wav\t1"]
    manifest = read_manifest(path)
    assert (manifest.root, manifest.paths, manifest.frames) == (str(tmp_path), NAMES, [1, 22, 333])
    assert manifest.full_path(2) == str(tmp_path / "plain.ogg") and len(manifest) == 3


@pytest.mark.parametrize("line", ["a.wav", "a.wav\t", "a.wav\t0", "a.wav\t-5", "a.wav\tlong", "a.wav\t5\t5", ""])
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
