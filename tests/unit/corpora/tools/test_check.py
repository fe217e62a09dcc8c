"""maskspec-build check, on a data directory that is spoilt in one way after the other."""

import os
import shutil

import numpy as np
import pytest
import soundfile

from tests.factories import run_build, write_flac_without_length, write_tone


@pytest.fixture()
def data(tmp_path):
    """Two subsets of three clips, of two rates, without an error."""
    audio, out = tmp_path / "audio", tmp_path / "data"
    for number, (rate, channels) in enumerate([(8000, 1), (8000, 1), (16000, 2)]):
        write_tone(audio / "a" / f"{number}.wav", 1.0 + number, rate, 300 + number, channels)
        write_tone(audio / "b" / f"{number + 3}.wav", 0.5, 8000, 400 + number)
    out.mkdir()
    (out / "labels.csv").write_text("index,mid,display_name\n0,dog,Dog\n1,cat,Cat\n2,cow,Cow\n")
    (out / "train.lbl").write_text("dog\ncat,-cow\n\n")
    (out / "test.lbl").write_text("dog\ncat\ncow\n")
    write(out / "train.tsv", audio, [f"a/{number}.wav" for number in range(3)])
    write(out / "test.tsv", audio, [f"b/{number}.wav" for number in (3, 4, 5)])
    (out / "train.rejected.tsv").write_text("broken.wav\tunreadable\n")
    return out


def write(path, audio, names):
    lines = [f"{name}\t{soundfile.info(audio / name).frames}" for name in names]
    path.write_text("\n".join([str(audio), *lines]) + "\n")


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def copied(root, source, target):
    """Copy a file below the root and return the copy's path."""
    shutil.copy(root / source, root / target)
    return target


def rows(done):
    return {line.split("  ")[0]: " ".join(line.split()) for line in done.stdout.splitlines()}


def test_a_sound_directory_is_described(data):
    done = run_build("check", data, "--workers", 1)
    table = rows(done)
    assert table["subset"] == "subset clips hours rates channels shortest longest classes unlabelled"
    assert table["train"] == "train 3 0.00 8000 x2, 16000 x1 1 x2, 2 x1 1.00 s 3.00 s 2 of 3 1"
    assert table["test"] == "test 3 0.00 8000 1 0.50 s 0.50 s 3 of 3 0"
    assert "train: 1 labels without a clip: cow" in done.stdout
    assert done.stdout.splitlines()[-1] == f"{data}: no errors" and "rejected" not in table


def test_hours_are_those_of_the_files_and_labels_may_be_none(tmp_path):
    soundfile.write(tmp_path / "long.wav", np.zeros(3600 * 1000), 1000)
    write(tmp_path / "train.tsv", tmp_path, ["long.wav"])
    assert rows(run_build("check", tmp_path))["train"] == "train 1 1.00 1000 1 3600.00 s 3600.00 s - -"


@pytest.mark.parametrize(
    "spoil, messages",
    [
        (lambda d, a: (a / "a" / "1.wav").unlink(), ["train.tsv, line 3: expected an audio file", "found none"]),
        (lambda d, a: (a / "a" / "1.wav").write_text("RIFF?"), ["train.tsv, line 3", "found one that cannot"]),
        (lambda d, a: write_tone(a / "b" / "4.wav", 0.6, 8000), ["test.tsv, line 3: expected 4800", "found 4000"]),
        (lambda d, a: replace(d / "test.tsv", "b/3.wav\t4000", "b/3.wav"), ["test.tsv, line 2: expected `path<TAB>"]),
        (lambda d, a: replace(d / "test.tsv", str(a), "/nowhere/at/all"), ["test.tsv, line 1: expected the directory"]),
        (lambda d, a: replace(d / "test.lbl", "cow\n", ""), ["test.lbl, line 3: expected one line for each of"]),
        (lambda d, a: replace(d / "test.lbl", "cow", "cow\ncow"), ["test.lbl, line 4: expected one line", "found 4"]),
        (lambda d, a: replace(d / "test.lbl", "cat", "-yak,kea"), ["test.lbl, line 2: expected keys", "kea, yak"]),
        (lambda d, a: (d / "train.lbl").unlink(), ["train.lbl, line 1: expected a file that goes with labels.csv"]),
        (lambda d, a: replace(d / "labels.csv", "1,cat", "2,cat"), ["labels.csv, line 3: expected `1,key,name`"]),
        (lambda d, a: write_flac_without_length(a / "a" / "1.wav"),
         ["train.tsv, line 3: expected an audio file", "expected a header that says how long", "encode it again"]),
        (lambda d, a: write(d / "test.tsv", a, ["b/3.wav", "b/4.wav", "b/../a/2.wav"]),
         ["train.tsv, line 4: expected every clip once", "found 'a/2.wav', which test.tsv has in line 4"]),
        (lambda d, a: write(d / "test.tsv", a, ["b/3.wav", "b/4.wav", "b/./3.wav"]),
         ["test.tsv, line 4: expected every clip once", "found 'b/./3.wav', which test.tsv has in line 2"]),
        (lambda d, a: write(d / "test.tsv", a, ["b/3.wav", copied(a, "a/0.wav", "b/0.wav"), "b/5.wav"]),
         ["train.tsv, line 2: expected every clip once", "found 'a/0.wav', which test.tsv has in line 3"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_file_and_line(data, spoil, messages):
    spoil(data, data.parent / "audio")
    done = run_build("check", data, code=2)
    assert f"{data}: 1 errors" in done.stdout
    for message in messages:
        assert message in done.stderr


def test_a_linked_file_is_the_same_clip_and_another_file_of_its_name_is_not(data):
    audio = data.parent / "audio"
    for name, hz in (("dog/hum.wav", 300), ("cat/hum.wav", 400)):  # as long as each other
        write_tone(audio / name, 0.5, 8000, hz)
    write(data / "train.tsv", audio, ["a/0.wav", "a/1.wav", "dog/hum.wav"])
    write(data / "test.tsv", audio, ["b/3.wav", "b/4.wav", "cat/hum.wav"])
    run_build("check", data)
    (audio / "e").mkdir()
    os.symlink(audio / "a" / "1.wav", audio / "e" / "other.wav")
    write(data / "test.tsv", audio, ["b/3.wav", "e/other.wav", "cat/hum.wav"])
    assert "found 'a/1.wav', which test.tsv has in line 3" in run_build("check", data, code=2).stderr


def test_in_audioset_an_id_is_the_same_clip_however_the_file_is_named(data):
    audio = data.parent / "audio"
    names = ["Y-0_SAy0qrh_.wav", "x/-0_SAy0qrh__30.000_40.000.wav", "YxYaL1lfb_k.wav", "xYaL1lfb_kQ.wav"]
    for number, name in enumerate(names):
        write_tone(audio / name, 0.5, 8000, 300 + number)
    write(data / "train.tsv", audio, [names[0], names[2]])
    write(data / "test.tsv", audio, [names[1], names[3]])
    for name in ("train", "test"):
        (data / f"{name}.lbl").write_text("/m/09x0r\n/t/dd00088\n")
    (data / "labels.csv").write_text("index,mid,display_name\n0,/m/09x0r,Speech\n1,/t/dd00088,Gush\n")
    done = run_build("check", data, code=2)
    assert (
        f"train.tsv, line 2: expected every clip once, found {names[0]!r}, which test.tsv has in line 2" in done.stderr
    )
    assert f"{data}: 1 errors" in done.stdout  # the other two ids share letters alone


def test_files_that_do_not_decode_are_found_by_decode_alone(data):
    audio = data.parent / "audio"
    soundfile.write(audio / "cut.flac", np.random.default_rng(1).uniform(-0.5, 0.5, 44100), 44100)
    write_tone(audio / "cut.mp3", 5.0, 44100)
    write(data / "train.tsv", audio, ["cut.flac", "a/1.wav", "cut.mp3"])
    for path, size in ((audio / "cut.flac", 8288), (audio / "cut.mp3", (audio / "cut.mp3").stat().st_size // 2)):
        os.truncate(path, size)
    assert f"{data}: no errors" in run_build("check", data).stdout
    done = run_build("check", data, "--decode", code=2)
    for line, path in ((2, audio / "cut.flac"), (4, audio / "cut.mp3")):
        message = f"train.tsv, line {line}: expected an audio file {str(path)!r}, found one that does not decode: "
        assert message in done.stderr
    assert f"{data}: 2 errors" in done.stdout and "decoded" in done.stderr


def test_labels_without_vocabulary_and_an_empty_directory_are_errors(data, tmp_path):
    (data / "labels.csv").unlink()
    done = run_build("check", data, code=2)
    assert "labels.csv, line 1: expected a file that goes with test.lbl, found none" in done.stderr
    assert "2 errors" in done.stdout
    (tmp_path / "empty").mkdir()
    assert "expected <subset>.tsv in" in run_build("check", tmp_path / "empty", code=2).stderr


def test_many_errors_of_a_kind_are_counted(data):
    audio = data.parent / "audio"
    shutil.copy(audio / "a" / "0.wav", audio / "0.wav")
    lines = [f"gone{number}.wav\t100" for number in range(25)]
    (data / "valid.tsv").write_text("\n".join([str(audio), *lines]) + "\n")
    (data / "valid.lbl").write_text("dog\n" * 25)
    done = run_build("check", data, code=2)
    assert done.stderr.count("found none") == 10 and "... and 15 more of this kind" in done.stderr
    assert "25 errors" in done.stdout


def test_pieces_of_one_file_in_two_subsets_must_not_overlap(data):
    audio = data.parent / "audio"
    train = [("a/2.wav:0:16000", 16000), ("a/2.wav:8000:16000", 16000)]  # those of one subset may

    def lines(subset, pieces):
        text = "".join(f"{path}\t{frames}\n" for path, frames in pieces)
        (data / f"{subset}.tsv").write_text(f"{audio}\n{text}")
        (data / f"{subset}.lbl").write_text("dog\n" * len(pieces))

    lines("train", train)
    lines("test", [("a/2.wav:24000:16000", 16000)])
    run_build("check", data, "--decode")
    lines("test", [("a/2.wav:23999:16000", 16000)])
    errors = run_build("check", data, code=2).stderr
    assert errors.count("expected frames of") == 1
    assert "test.tsv, line 2: expected frames of" in errors and "found 23999 to 39999, and 8000 to 24000" in errors
    assert "in train.tsv, line 3; leave one of the two out" in errors
    lines("test", [("a/2.wav", 48000)])
    assert "expected frames of" in run_build("check", data, code=2).stderr
    (audio / "link.wav").symlink_to(audio / "a" / "2.wav")
    lines("test", [("link.wav:0:16000", 16000)])
    assert "expected every clip once, found 'a/2.wav:0:16000', which" in run_build("check", data, code=2).stderr
    shutil.copy(audio / "a" / "2.wav", audio / "b" / "2.wav")
    lines("test", [("b/2.wav:8000:16000", 16000)])
    assert "expected every clip once, found 'a/2.wav:8000:16000'" in run_build("check", data, code=2).stderr
    lines("test", [("a/1.wav:0:16000", 15999), ("a/1.wav:10000:10000", 10000), ("gone.wav:1:2", 2)])
    errors = run_build("check", data, code=2).stderr
    assert "test.tsv, line 2: expected 16000 frames" in errors and "test.tsv, line 4: expected an audio file" in errors
    assert "expected a piece within the 16000 frames of the file, found frames 10000 to 20000" in errors


@pytest.mark.parametrize("extension", ["ogg", "mp3"])
def test_recordings_joined_to_one_file_are_found_by_decoding(data, extension):
    audio = data.parent / "audio"
    for name in ("one", "two"):
        write_tone(audio / f"{name}.{extension}", 1.0, 44100)
    content = (audio / f"one.{extension}").read_bytes() + (audio / f"two.{extension}").read_bytes()
    (audio / f"joined.{extension}").write_bytes(content)
    write(data / "test.tsv", audio, [f"joined.{extension}"])
    (data / "test.lbl").write_text("dog\n")
    run_build("check", data)
    errors = run_build("check", data, "--decode", code=2).stderr
    assert "several recordings joined to one file of 88200 frames, only the first 44100 of which are read" in errors
