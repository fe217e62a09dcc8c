"""maskspec-build pack."""

import os
import signal
import subprocess
import zipfile

import numpy as np
import pytest
from fairseq.data.audio.audio_utils import parse_path, read_from_stored_zip

from maskspec_fairseq.audio.read import read_audio
from maskspec_fairseq.data_dir.labels import Label, write_vocabulary
from maskspec_fairseq.data_dir.manifest import read_manifest
from tests.factories import (
    BUILD,
    NOISE,
    encoded,
    int16,
    run_build,
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


def check_same_clips(data_dir, packed):
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
    check_same_clips(data_dir, packed)
    before, after = contents(data_dir), contents(packed)
    assert sorted(after) == sorted([*before, "train.zip", "valid.zip"])
    assert sorted(name for name in before if before[name] != after[name]) == ["train.tsv", "valid.tsv"]
    train, valid = (len(read_manifest(packed / f"{subset}.tsv")) for subset in ("train", "valid"))
    assert done.stdout == f"{packed}: train {train}, valid {valid} clips in 2 zips\n"
    assert "no errors" in run_build("check", packed, "--decode").stdout
    assert f"{train} clips of train, 0 left out" in run_build("stats", packed).stdout
    run_build("pack", data_dir, "--out", tmp_path / "again")
    assert (tmp_path / "again" / "train.zip").read_bytes() == after["train.zip"]


def test_offsets_are_right_with_zip64_headers(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)  # above which there are further fields
    run_build("pack", data_dir, "--out", tmp_path / "packed")
    with zipfile.ZipFile(tmp_path / "packed" / "train.zip") as pack:
        header = pack.infolist()[0]
        assert header.extract_version == zipfile.ZIP64_VERSION
    check_same_clips(data_dir, tmp_path / "packed")


def test_a_file_that_is_listed_twice_is_stored_once(data_dir, tmp_path):
    for name in ("train.tsv", "train.lbl"):
        lines = (data_dir / name).read_text().splitlines(keepends=True)
        (data_dir / name).write_text("".join([*lines, lines[-1]]))
    run_build("pack", data_dir, "--out", tmp_path / "packed")
    check_same_clips(data_dir, tmp_path / "packed")
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
    check_same_clips(data_dir, packed)
    assert sorted(contents(packed)) == sorted([*contents(data_dir), "train.zip", "valid.zip"])


def test_what_cannot_be_packed_is_refused_and_nothing_is_left(data_dir, tmp_path):
    packed = tmp_path / "packed"

    def refused(*messages, source=data_dir, out=packed):
        errors = run_build("pack", source, "--out", out, code=2).stderr
        assert all(message in errors for message in messages), errors

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
    run_build("pack", data_dir, "--out", packed)
    before = contents(packed)
    (data_dir / "valid.tsv").rename(data_dir / "eval.tsv")
    refused("expected no subsets but eval, train, found valid, of another build")
    assert contents(packed) == before


def test_waveforms_of_hdf5_files_stay_where_they_are(tmp_path):
    write_waveforms(tmp_path / "a.h5", int16(NOISE[:1]))
    (tmp_path / "train.tsv").write_text(f"{tmp_path}\na.h5:0\t64000\n")
    errors = run_build("pack", tmp_path, "--out", tmp_path / "packed", code=2).stderr
    assert (
        "train.tsv, line 2: expected a file of audio at" in errors and "found a waveform, which is read from" in errors
    )


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


def test_a_file_is_packed_once_and_pieces_point_into_it(tmp_path):
    for number, seconds in enumerate((3.0, 2.0, 2.5)):
        write_tone(tmp_path / "audio" / f"{number}.flac", seconds, 8000, hz=300 + number)
    run_build("folder", tmp_path / "audio", "--out", tmp_path / "data", "--stats-clips", 0, "--segment-sec", 1)
    run_build("pack", tmp_path / "data", "--out", tmp_path / "packed")
    for subset in ("train", "valid"):
        loose, packed = (read_manifest(tmp_path / name / f"{subset}.tsv") for name in ("data", "packed"))
        assert len(loose) == len(packed) and np.array_equal(loose.frames, packed.frames)
        files = {path.split(":")[0] for path in loose.paths}
        assert zipfile.ZipFile(tmp_path / "packed" / f"{subset}.zip").namelist() == sorted(files)
        for index in range(len(loose)):
            assert np.array_equal(read_audio(loose.full_path(index))[0], read_audio(packed.full_path(index))[0])
    assert "no errors" in run_build("check", tmp_path / "packed", "--decode").stdout
