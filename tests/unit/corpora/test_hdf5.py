"""maskspec-build hdf5."""

import os

import h5py
import numpy as np
import pytest

from maskspec_fairseq.audio.read import read_audio
from maskspec_fairseq.data_dir.labels import Label, read_labels, read_vocabulary, write_vocabulary
from maskspec_fairseq.data_dir.manifest import read_manifest
from tests.factories import NOISE, encoded, int16, run_build, write_mp3s, write_waveforms


def write_classes(path, num_classes):
    write_vocabulary(path, [Label(f"/m/{number:03d}", f"class {number}") for number in range(num_classes)])
    return path


def set_target(pack, target):
    with h5py.File(pack, "a") as file:
        if "target" in file:
            del file["target"]
        if target is not None:
            file["target"] = target


def hdf5(tmp_path, *files, labels=None, code=0):
    labels = labels or tmp_path / "classes.csv"
    return run_build("hdf5", *files, "--labels", labels, "--out", tmp_path / "data", "--stats-clips", 0, code=code)


def read_subset(out, subset):
    manifest, vocabulary = read_manifest(out / f"{subset}.tsv"), read_vocabulary(out / "labels.csv")
    return manifest, read_labels(out / f"{subset}.lbl", vocabulary, len(manifest)), [x.key for x in vocabulary]


@pytest.mark.parametrize("num_classes", [527, 10, 8])
def test_packed_bits_become_labels(tmp_path, num_classes):
    rng = np.random.default_rng(num_classes)
    write_classes(tmp_path / "classes.csv", num_classes)
    truth = {}
    for subset, clips in (("train", 4), ("valid", 2)):
        pack = write_mp3s(
            tmp_path / f"{subset}_mp3.hdf", [encoded(samples, "mp3") for samples in NOISE[:clips, :16000]]
        )
        truth[subset] = rng.random((clips, num_classes)) < 0.3
        set_target(pack, np.packbits(truth[subset], axis=-1))
    done = hdf5(tmp_path, *(f"{subset}={tmp_path}/{subset}_mp3.hdf" for subset in truth))
    for subset, expected in truth.items():
        manifest, labels, keys = read_subset(tmp_path / "data", subset)
        assert list(manifest.paths) == [f"{subset}_mp3.hdf:{index}" for index in range(len(expected))]
        assert [clip.present for clip in labels] == [[keys[n] for n in np.flatnonzero(row)] for row in expected]
        assert not any(clip.absent for clip in labels)
        assert [len(read_audio(manifest.full_path(n))[0]) for n in range(len(manifest))] == list(manifest.frames)
    assert "train 4, valid 2 clips; rejected 0 of 6 files" in done.stdout
    assert "no errors" in run_build("check", tmp_path / "data", "--decode").stdout


def test_waveforms_that_were_missing_are_listed_and_files_of_a_subset_joined(tmp_path):
    """Most rows of one file are missing, which is no reason to fail: the corpus was like that when it was packed."""
    write_classes(tmp_path / "classes.csv", 5)
    (tmp_path / "unbalanced").mkdir()
    names = ["Ya.wav", "", "", "", "Yb.wav", ""]
    named = np.array([[name != ""] for name in names])
    truth = np.random.default_rng(1).random((6, 5)) < 0.5
    one = write_waveforms(tmp_path / "balanced.h5", int16(NOISE[:6] * named), names)
    other = write_waveforms(tmp_path / "unbalanced" / "part00.h5", int16(NOISE[6:]))
    set_target(one, truth & named)
    set_target(other, truth[:2])
    done = hdf5(tmp_path, f"train={one}", f"train={other}")
    manifest, labels, keys = read_subset(tmp_path / "data", "train")
    assert list(manifest.paths) == [
        "balanced.h5:0",
        "balanced.h5:4",
        "unbalanced/part00.h5:0",
        "unbalanced/part00.h5:1",
    ]
    assert [c.present for c in labels] == [[keys[n] for n in np.flatnonzero(truth[row])] for row in (0, 4, 0, 1)]
    assert list(manifest.frames) == [64000] * 4
    rejected = [line.split("\t") for line in (tmp_path / "data" / "train.rejected.tsv").read_text().splitlines()]
    assert [path for path, _ in rejected] == [f"balanced.h5:{index}" for index in (1, 2, 3, 5)]
    assert all(reason.startswith("missing") for _, reason in rejected)
    assert f"{one}: 2 clips in 6 rows, 4 of files that were missing, balanced.h5:1 first" in done.stdout
    assert f"{other}: 2 clips in 2 rows, 0 of files that were missing\n" in done.stdout


def test_probabilities_and_masks_become_three_states(tmp_path):
    write_classes(tmp_path / "classes.csv", 4)
    pack = write_mp3s(tmp_path / "openmic_train.csv_mp3.hdf", [encoded(samples, "mp3") for samples in NOISE[:2]])
    truth = [[0.9, 0.1, 0.9, 0.5], [0.5, 0.5, 0.51, 0.0]]
    set_target(pack, np.hstack([truth, [[1, 1, 0, 0], [0, 1, 1, 1]]]).astype(np.float32))
    done = hdf5(tmp_path, f"train={pack}")
    _, labels, _ = read_subset(tmp_path / "data", "train")
    states = [(clip.present, list(clip.absent)) for clip in labels]
    assert states == [(["/m/000"], ["/m/001"]), (["/m/002"], ["/m/001", "/m/003"])]
    assert "1 probabilities are exactly 0.5 and count as absent" in done.stdout


def test_broken_rows_are_rejected(tmp_path):
    write_classes(tmp_path / "classes.csv", 2)
    good = encoded(NOISE[0], "mp3")
    pack = write_mp3s(tmp_path / "a.hdf", [good, b"", b"no mp3", good])
    set_target(pack, np.array([[64], [128], [0], [192]], np.uint8))
    done = hdf5(tmp_path, f"train={pack}", code=2)
    assert "more than --max-rejected" in done.stderr and "rejected 2 of 4 files" in done.stdout
    rejected = (tmp_path / "data" / "train.rejected.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in rejected] == ["a.hdf:1", "a.hdf:2"] and "an empty row" in rejected[0]
    manifest, labels, _ = read_subset(tmp_path / "data", "train")
    assert list(manifest.paths) == ["a.hdf:0", "a.hdf:3"]
    assert [clip.present for clip in labels] == [["/m/001"], ["/m/000", "/m/001"]]


def test_what_is_no_such_pack_is_refused(tmp_path):
    labels = write_classes(tmp_path / "classes.csv", 10)
    clips = [encoded(NOISE[0], "mp3")]
    pack = write_mp3s(tmp_path / "a.hdf", clips)

    def refused(message, *files):
        errors = run_build("hdf5", *files, "--labels", labels, "--out", tmp_path / "data", code=2).stderr
        assert message in errors and errors.count("\n") == 1, errors
        assert not (tmp_path / "data").exists()

    targets = [
        (None, "expected a dataset target with a row of uint8, bool or floats for each of the 1 clips, found none"),
        (np.zeros((1, 66), np.uint8), "expected 2 values of uint8 in a row of target for 10 classes, found 66 values"),
        (np.full((1, 2), 255, np.uint8), "for 10 classes, found bits of further ones; name the class_labels_indices"),
        (np.zeros((1, 527), bool), "expected 10 values of bool in a row of target for 10 classes, found 527 values"),
        (np.zeros((1, 10), np.float32), "expected 20 values of float32 in a row of target"),
        (np.zeros((2, 2), np.uint8), "for each of the 1 clips, found uint8 (2, 2)"),
        (np.zeros((1, 10), np.int64), "found int64 (1, 10)"),
        (np.zeros(1, np.uint8), "found uint8 (1,)"),
    ]
    for number, (target, message) in enumerate(targets):
        with_target = write_mp3s(tmp_path / f"{number}.hdf", clips)
        set_target(with_target, target)
        refused(message, f"train={with_target}")
    for argument in (str(pack), f"={pack}", "train=", f"../train={pack}", f".train={pack}"):
        refused("expected SUBSET=FILE, such as train=balanced.hdf, found ", argument)
    refused("expected a file that ends in .hdf, .hdf5, .h5", f"train={tmp_path}/a.mat")
    refused("found none; name files as in train=balanced.hdf", f"train={tmp_path}/b.hdf")
    refused("expected every file once", f"train={pack}", f"valid={pack}")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["audio"] = [1]
    refused("other.h5: expected a dataset mp3 of rows of uint8", f"train={tmp_path}/other.h5")
    os.truncate(pack, 1000)
    refused("a.hdf: expected an HDF5 file that can be read, found: ", f"train={pack}")
    labels = tmp_path / "none.csv"
    refused("none.csv, found none; name the class_labels_indices.csv", f"train={pack}")
