"""maskspec-build folder."""

import os
import unicodedata

import pytest

from maskspec_fairseq.corpora.builder import find_audio
from maskspec_fairseq.data_dir.labels import read_vocabulary
from maskspec_fairseq.data_dir.manifest import read_manifest
from tests.factories import read_subset, run_build, write_tone


def test_labels_from_parent(tree, tmp_path):
    out = tmp_path / "data"
    run_build("folder", tree, "--out", out, "--labels-from-parent", "--stats-clips", 0)
    vocabulary = read_vocabulary(out / "labels.csv")
    assert [(label.key, label.name) for label in vocabulary] == [
        ("dogs_barking", "Dogs, barking"), ("füsse", "Füße"), ("rain", "rain"), ("日本", "日本"),
    ]  # fmt: skip
    for name in ("train", "valid"):
        manifest, labels = read_subset(out, name)
        folders = [path.split("/")[-2] for path in manifest.paths]
        assert labels == [[{"Dogs, barking": "dogs_barking", "Füße": "füsse"}.get(name, name)] for name in folders]
    write_tone(tree / "top.wav", 0.3)
    done = run_build("folder", tree, "--out", out, "--labels-from-parent", code=2)
    assert "expected every file in the folder of its class, found top.wav in none" in done.stderr


def test_the_split_does_not_depend_on_where_the_tree_lies_or_how_it_is_listed(tree, tmp_path):
    run_build("folder", tree, "--out", tmp_path / "one", "--stats-clips", 0, "--workers", 1)
    moved = tmp_path / "elsewhere"
    tree.rename(moved)
    run_build("folder", moved, "--out", tmp_path / "two", "--stats-clips", 0, "--workers", 3)
    for name in ("train.tsv", "valid.tsv"):
        one, two = (read_manifest_lines(tmp_path / d / name) for d in ("one", "two"))
        assert one[1:] == two[1:] and one[0] != two[0]


def read_manifest_lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def build_tones(root, paths, out, *args, code=0):
    """Builds tones at these paths; returns what was printed and subset -> paths."""
    for number, path in enumerate(paths):
        write_tone(root / path, 0.1, 8000, hz=200 + 10 * number)
    done = run_build("folder", root, "--out", out, "--stats-clips", 0, *args, code=code)
    return done, {p.stem: read_manifest_lines(p)[1:] for p in out.glob("*.tsv") if "rejected" not in p.name}


def test_folders_of_subsets_are_subsets(tmp_path):
    paths = ["Train/dog/1.wav", "Train/cat/1.wav", "validation/dog/2.wav", "test/cat/3.wav", "test/cat/x/4.wav"]
    out = tmp_path / "data"
    done, found = build_tones(tmp_path / "audio", paths, out, "--labels-from-parent")
    assert "the folders Train/, test/, validation/ are taken for subsets" in done.stdout
    assert {name: len(lines) for name, lines in found.items()} == {"train": 2, "valid": 1, "test": 2}
    assert read_subset(out, "test")[1] == [["cat"], ["x"]] and read_subset(out, "valid")[1] == [["dog"]]
    write_tone(tmp_path / "audio" / "test" / "top.wav")
    done = run_build("folder", tmp_path / "audio", "--out", out, "--labels-from-parent", code=2)
    assert "expected every file in the folder of its class, found test/top.wav in none" in done.stderr


def test_valid_is_held_out_of_train_where_only_test_is_given(tmp_path):
    paths = [f"train/{n}.wav" for n in range(10)] + ["test/1.wav"]
    _, found = build_tones(tmp_path / "audio", paths, tmp_path / "data", "--valid-fraction", 0.2)
    assert {name: len(lines) for name, lines in found.items()} == {"train": 8, "valid": 2, "test": 1}
    assert all(line.startswith("train/") for line in found["valid"])


def test_folders_of_folds_are_folds(tmp_path):
    paths = [f"fold{n}/{name}/1.wav" for n in (1, 2, 10) for name in ("dog", "cat")]
    done, found = build_tones(tmp_path / "audio", paths, tmp_path / "data", "--labels-from-parent")
    assert {name: len(lines) for name, lines in found.items()} == {"fold1": 2, "fold2": 2, "fold10": 2}
    assert read_subset(tmp_path / "data", "fold10")[1] == [["cat"], ["dog"]]
    assert done.stdout.splitlines()[-1].endswith("fold1 2, fold2 2, fold10 2 clips; rejected 0 of 6 files")


def test_a_class_that_is_called_train_is_a_class(tmp_path):
    paths = [f"{name}/{n}.wav" for name in ("train", "plane", "car") for n in range(3)]
    done, found = build_tones(tmp_path / "audio", paths, tmp_path / "data", "--labels-from-parent")
    assert {name: len(lines) for name, lines in found.items()} == {
        "train": 6,
        "valid": 3,
    } and "taken" not in done.stdout
    done, found = build_tones(tmp_path / "audio", [*paths, "test/1.wav"], tmp_path / "data")
    assert "note: test, train are taken for folders like any other, because 'car' is next to them" in done.stdout
    assert set(found) == {"train", "valid"}


def test_folders_that_look_alike_are_one_class(tmp_path):
    nfc, nfd = (unicodedata.normalize(form, "Möwe") for form in ("NFC", "NFD"))
    paths = [f"{name}/{n}.wav" for name in (f"a/{nfc}", f"b/{nfd}", "C", "C#") for n in range(2)]
    build_tones(tmp_path / "audio", paths, tmp_path / "data", "--labels-from-parent")
    labels = read_vocabulary(tmp_path / "data" / "labels.csv")
    assert [(label.key, label.name) for label in labels] == [("C", "C"), ("C#", "C#"), ("möwe", nfc)]


def test_two_links_to_a_folder_are_two_classes_and_a_circle_ends(tmp_path):
    for name in ("1", "2"):
        write_tone(tmp_path / "real" / f"{name}.wav", 0.1, 8000)
    (tmp_path / "audio" / "dog").mkdir(parents=True)
    (tmp_path / "audio" / "dog" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "audio" / "hound").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "back").symlink_to(tmp_path / "audio")
    found = find_audio(tmp_path / "audio")
    assert found[:2] == ["dog/linked/1.wav", "dog/linked/2.wav"]
    assert {"hound/1.wav", "hound/2.wav"} <= set(found) and len(found) < 20


def test_a_file_too_short_to_be_held_out_from_is_named_with_the_reason(tmp_path):
    write_tone(tmp_path / "audio" / "a.wav", 2, 8000)
    done = run_build("folder", tmp_path / "audio", "--out", tmp_path / "data", code=2)
    assert "no clip is left for train, valid" in done.stderr
    assert "says why, for a.wav: too short to hold out its end: 2.000 s" in done.stderr


def test_a_single_file_may_be_more_than_the_fraction_without_classes(tmp_path):
    for name in ("1.wav", "2.wav", "3.wav"):
        write_tone(tmp_path / "audio" / name, 0.1, 8000)
    done = run_build("folder", tmp_path / "audio", "--out", tmp_path / "data")
    assert "1 of 3 files are held out, more than a fraction of 0.05: one is held out at least" in done.stdout


@pytest.mark.parametrize(
    "files, note",
    [
        (["test/a/1.wav", "test/a/2.wav", "valid/b/3.wav", "valid/b/4.wav"], "because there is no train next to them"),
        (["dog/a/1.wav", "cat/a/2.wav"], "all files are of one class, 'a'"),
        (["a/1.wav", "b/1.wav", "b/2.wav", "a/2.wav"], "note: 2 of 4 files are held out, more than a fraction of 0.05"),
    ],
)
def test_what_may_not_be_meant_is_said(tmp_path, files, note):
    for name in files:
        write_tone(tmp_path / "audio" / name, 0.1, 8000)
    done = run_build("folder", tmp_path / "audio", "--labels-from-parent", "--out", tmp_path / "data")
    assert note in done.stdout


def test_paths_that_lead_to_one_file_are_on_one_side(tmp_path):
    for number in range(8):
        write_tone(tmp_path / "audio" / "real" / f"{number}.wav", 0.1, 8000)
        (tmp_path / "audio" / f"link{number}.wav").symlink_to(tmp_path / "audio" / "real" / f"{number}.wav")
    (tmp_path / "audio" / "again").symlink_to(tmp_path / "audio" / "real")
    out = tmp_path / "data"
    run_build("folder", tmp_path / "audio", "--valid-fraction", 0.25, "--out", out, "--stats-clips", 0)
    manifests = [read_manifest(out / f"{name}.tsv") for name in ("train", "valid")]
    train, valid = ({os.path.realpath(each.full_path(index)) for index in range(len(each))} for each in manifests)
    assert len(train) == 6 and len(valid) == 2 and not train & valid
    assert sum(map(len, manifests)) == 24
