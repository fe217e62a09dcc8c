"""build.py pack and build.py hdf5."""

import os
import signal
import subprocess
import zipfile

import h5py
import numpy as np
import pytest
from fairseq.data.audio.audio_utils import parse_path, read_from_stored_zip

from maskspec_fairseq.audio.read import read_audio
from maskspec_fairseq.cli import build
from maskspec_fairseq.data_dir.labels import Label, read_labels, read_vocabulary, write_vocabulary
from maskspec_fairseq.data_dir.manifest import read_manifest
from tests.factories import (
    BUILD,
    NOISE,
    encoded,
    int16,
    run_build,
    write_mp3s,
    write_tone,
    write_waveforms,
    write_zip,
)

NAMES = ("Füße/é.flac", "日本/1.wav", "rain, snow/2 3.ogg", "a:b.mp3", "deep/er/5.wav", "6.flac", "7.wav", "8.wav")


@pytest.fixture()
def data_dir(tmp_path):
    """Eight clips with difficult names in train and valid, labelled, with statistics and one rejected file."""
    for number, name in enumerate(NAMES):
        write_tone(tmp_path / "audio" / "class" / name, 0.2 + 0.1 * number, hz=300 + number, channels=1 + number % 2)
    (tmp_path / "audio" / "class" / "broken.wav").write_text("no audio")
    out = tmp_path / "data"
    run_build(
        "folder", tmp_path / "audio", "--out", out, "--valid-fraction", 0.3, "--max-rejected", 0.5, "--stats-clips", 0
    )
    (out / "mel_stats.json").write_text("{}")
    for path in out.glob("*.tsv"):
        if not path.name.endswith(".rejected.tsv"):
            path.with_suffix(".lbl").write_text("a\n" * len(read_manifest(path)))
    write_vocabulary(out / "labels.csv", [Label("a", "A")])
    return out


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def expect_same_clips(data_dir, packed):
    """The bytes, by three readers, and the samples of every clip, in order."""
    for subset in ("train", "valid"):
        loose, manifest = (read_manifest(directory / f"{subset}.tsv") for directory in (data_dir, packed))
        assert len(loose) == len(manifest) > 1 and np.array_equal(loose.frames, manifest.frames)
        assert manifest.root == str(packed)
        with zipfile.ZipFile(packed / f"{subset}.zip") as pack:
            assert pack.testzip() is None and sorted(set(loose.paths)) == sorted(pack.namelist())
            for index, name in enumerate(loose.paths):
                with open(loose.full_path(index), "rb") as stream:
                    data = stream.read()
                file, place = parse_path(manifest.full_path(index))
                assert pack.read(name) == read_from_stored_zip(file, *place) == data
                (one, rate), (other, other_rate) = (read_audio(m.full_path(index)) for m in (loose, manifest))
                assert rate == other_rate and np.array_equal(one, other)


def test_packed_clips_are_those_of_the_files(data_dir, tmp_path):
    packed = tmp_path / "packed"
    done = run_build("pack", data_dir, "--out", packed)
    expect_same_clips(data_dir, packed)
    before, after = contents(data_dir), contents(packed)
    assert sorted(after) == sorted([*before, "train.zip", "valid.zip"])
    assert sorted(name for name in before if before[name] != after[name]) == ["train.tsv", "valid.tsv"]
    train, valid = (len(read_manifest(packed / f"{subset}.tsv")) for subset in ("train", "valid"))
    assert done.stdout == f"{packed}: train {train}, valid {valid} clips in 2 zips\n"
    assert "no errors" in run_build("check", packed, "--decode").stdout
    assert f"{train} clips of train, 0 left out" in run_build("stats", packed).stdout
    run_build("pack", data_dir, "--out", tmp_path / "again")
    assert (tmp_path / "again" / "train.zip").read_bytes() == after["train.zip"]


@pytest.fixture()
def in_process(capsys):
    """The program in this process -> exit code and errors."""

    def run(*args):
        return build.main([str(arg) for arg in args]), capsys.readouterr().err

    return run


def test_offsets_are_right_with_zip64_headers(data_dir, tmp_path, in_process, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)  # above which there are further fields
    assert in_process("pack", data_dir, "--out", tmp_path / "packed")[0] == 0
    with zipfile.ZipFile(tmp_path / "packed" / "train.zip") as pack:
        header = pack.infolist()[0]
        assert header.extract_version == zipfile.ZIP64_VERSION
    expect_same_clips(data_dir, tmp_path / "packed")


def test_a_file_that_is_listed_twice_is_stored_once(data_dir, tmp_path):
    for name in ("train.tsv", "train.lbl"):
        lines = (data_dir / name).read_text().splitlines(keepends=True)
        (data_dir / name).write_text("".join([*lines, lines[-1]]))
    run_build("pack", data_dir, "--out", tmp_path / "packed")
    expect_same_clips(data_dir, tmp_path / "packed")
    paths = read_manifest(tmp_path / "packed" / "train.tsv").paths
    assert paths[-1] == paths[-2] and len(set(paths)) == len(paths) - 1
    done = run_build("check", tmp_path / "packed", code=2)  # which finds them as it finds files
    assert "expected every clip once" in done.stderr and "no errors" not in done.stdout


def test_a_pack_is_replaced_and_what_is_no_longer_there_goes(data_dir, tmp_path):
    packed = tmp_path / "packed"
    run_build("pack", data_dir, "--out", packed)
    for name in ("labels.csv", "train.lbl", "valid.lbl", "mel_stats.json"):
        (data_dir / name).unlink()
    run_build("pack", data_dir, "--out", packed)
    expect_same_clips(data_dir, packed)
    assert sorted(contents(packed)) == sorted([*contents(data_dir), "train.zip", "valid.zip"])


def test_what_cannot_be_packed_is_refused_and_nothing_is_left(data_dir, tmp_path, in_process):
    packed = tmp_path / "packed"

    def refused(*messages, source=data_dir, out=packed):
        code, errors = in_process("pack", source, "--out", out)
        assert code == 2 and all(message in errors for message in messages), errors

    refused("expected --out other than DATA_DIR", out=data_dir)
    refused("expected <subset>.tsv in", source=tmp_path / "audio", out=packed)
    gone = read_manifest(data_dir / "valid.tsv").full_path(1)
    os.rename(gone, tmp_path / "kept")
    refused(f"{data_dir}/valid.tsv, line 3: expected a file of audio at {gone!r}, found none; name a data directory")
    os.mkfifo(gone)
    refused(f"expected a file of audio at {gone!r}, found none")
    assert not packed.exists() or os.listdir(packed) == []
    os.unlink(gone)
    os.rename(tmp_path / "kept", gone)
    assert in_process("pack", data_dir, "--out", packed)[0] == 0
    before = contents(packed)
    refused("train.tsv, line 2: expected a file of audio", "found a clip in a pack", source=packed, out=tmp_path / "b")
    (data_dir / "valid.tsv").rename(data_dir / "eval.tsv")
    refused("expected no subsets but eval, train, found valid, of another build")
    assert contents(packed) == before


SLOW_COPY = """
import os, shutil, time
def copyfileobj(source, target):
    target.write(source.read())
    os.write(2, b"copied")
    time.sleep(60)
shutil.copyfileobj = copyfileobj
"""


def test_an_interrupt_leaves_no_zip(data_dir, tmp_path):
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text(SLOW_COPY)
    path = os.pathsep.join([str(tmp_path / "slow"), *filter(None, [os.environ.get("PYTHONPATH")])])
    running = subprocess.Popen(
        [*BUILD, "pack", data_dir, "--out", tmp_path / "packed"], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path}, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    printed = ""
    while "copied" not in printed:
        letter = running.stderr.read(1)
        assert letter, printed
        printed += letter
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 130 and "interrupted" in errors and os.listdir(tmp_path / "packed") == []


def test_packs_of_others_are_checked_and_merged(tmp_path):
    """Two zips whose manifests were written by hand; one clip is in both subsets, and one is gone."""
    paths = write_zip(tmp_path / "a.zip", {"1": encoded(NOISE[0, :8000]), "2": encoded(NOISE[1, :8000])})
    (tmp_path / "link.zip").symlink_to("a.zip")
    first, second = (path.rpartition("/")[2] for path in paths.values())
    linked = first.replace("a.zip", "link.zip")
    (tmp_path / "train.tsv").write_text(f"{tmp_path}\n{first}\t8000\n{second}\t8000\n")
    (tmp_path / "valid.tsv").write_text(f"{tmp_path}\n{linked}\t8000\nb.zip:0:9\t8000\n")
    errors = run_build("check", tmp_path, code=2).stderr
    assert f"valid.tsv, line 2: expected every clip once, found {linked!r}, which train.tsv has in line 2" in errors
    assert f"valid.tsv, line 3: expected an audio file '{tmp_path}/b.zip:0:9', found none" in errors
    assert errors.count("expected every clip once") == 1
    (tmp_path / "valid.tsv").write_text(f"{tmp_path}\n{second}\t8000\n")
    (tmp_path / "train.tsv").write_text(f"{tmp_path}\n{first}\t8000\n")
    run_build(
        "merge", "--train", f"{tmp_path}:train", "--valid", f"{tmp_path}:valid", "--out", tmp_path / "m",
        "--stats-clips", 0,
    )  # fmt: skip
    assert read_manifest(tmp_path / "m" / "train.tsv").full_path(0) == paths["1"]


# HDF5


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


@pytest.mark.parametrize("num_classes", [527, 50, 35, 10, 8])
def test_packed_bits_become_labels(tmp_path, num_classes):
    rng = np.random.default_rng(num_classes)
    write_classes(tmp_path / "classes.csv", num_classes)
    truth = {}
    for subset, clips in (("train", 4), ("valid", 2)):
        pack = write_mp3s(tmp_path / f"{subset}_mp3.hdf", [encoded(samples, "mp3") for samples in NOISE[:clips]])
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


def test_what_is_no_such_pack_is_refused(tmp_path, in_process):
    labels = write_classes(tmp_path / "classes.csv", 10)
    clips = [encoded(NOISE[0], "mp3")]
    pack = write_mp3s(tmp_path / "a.hdf", clips)

    def refused(message, *files):
        code, errors = in_process("hdf5", *files, "--labels", labels, "--out", tmp_path / "data")
        assert code == 2 and message in errors and errors.count("\n") == 1, errors
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
    refused("found none; name the HDF5 file of a subset", f"train={tmp_path}/b.hdf")
    refused("expected every file once", f"train={pack}", f"valid={pack}")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["audio"] = [1]
    refused("other.h5: expected a dataset mp3 of rows of uint8", f"train={tmp_path}/other.h5")
    os.truncate(pack, 1000)
    refused("a.hdf: expected an HDF5 file that can be read, found: ", f"train={pack}")
    labels = tmp_path / "none.csv"
    refused("none.csv, found none; name the class_labels_indices.csv", f"train={pack}")
