"""manifests/build.py as a user runs it: a program of its own."""

import csv
import json
import os
import signal
import subprocess

import numpy as np
import pytest
import soundfile

from maskspec_fairseq.data_dir.labels import read_vocabulary
from maskspec_fairseq.data_dir.manifest import read_manifest
from maskspec_fairseq.modules.front_ends import FRONT_ENDS
from tests.factories import BUILD, read_subset, run_build, write_flac_without_length, write_tone


@pytest.fixture()
def tree(tmp_path):
    """Sixteen clips in four classes with difficult names, all readable."""
    audio = tmp_path / "audio"
    for number in range(4):
        write_tone(audio / "Dogs, barking" / f"a {number}.wav", 0.3, hz=300 + number)
        write_tone(audio / "deep" / "Füße" / f"ü{number}.flac", 0.3, 44100, hz=400 + number)
        write_tone(audio / "rain" / f"{number}.OGG", 0.3, 44100, hz=500 + number, channels=2)
        write_tone(audio / "日本" / f"{number}.mp3", 0.5, 44100, hz=600 + number)
    (audio / "notes.txt").write_text("no audio")
    (audio / "rain" / "._0.ogg").write_text("a shadow file")
    return audio


def test_folder_lists_every_file_once_with_its_frames(tree, tmp_path):
    out = tmp_path / "data"
    done = run_build("folder", tree, "--out", out, "--valid-fraction", 0.25, "--stats-clips", 0)
    train, valid = read_manifest(out / "train.tsv"), read_manifest(out / "valid.tsv")
    assert (len(train), len(valid)) == (12, 4)
    listed = dict(zip([*train.paths, *valid.paths], [*train.frames, *valid.frames]))
    assert len(listed) == 16 and list(train.paths) == sorted(train.paths)
    for path, frames in listed.items():
        assert frames == soundfile.info(tree / path).frames
    assert done.stdout.splitlines()[-1] == f"{out}: train 12, valid 4 clips; rejected 0 of 16 files"
    assert not (out / "labels.csv").exists() and (out / "train.rejected.tsv").read_text() == ""


def test_labels_from_parent(tree, tmp_path):
    out = tmp_path / "data"
    run_build("folder", tree, "--out", out, "--labels-from-parent", "--stats-clips", 0)
    vocabulary = read_vocabulary(out / "labels.csv")
    assert [(label.key, label.name) for label in vocabulary] == [
        ("dogs_barking", "Dogs, barking"), ("füsse", "Füße"), ("rain", "rain"), ("日本", "日本"),
    ]  # fmt: skip
    for name in ("train", "valid"):
        for path, label in zip(*(lambda m, ls: (m.paths, ls))(*read_subset(out, name))):
            assert label == [
                {"Dogs, barking": "dogs_barking", "Füße": "füsse"}.get(path.split("/")[-2], path.split("/")[-2])
            ]
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


def spoil(tree):
    (tree / "rain" / "noise.wav").write_bytes(b"RIFF but not really")
    soundfile.write(tree / "rain" / "empty.wav", np.zeros(0), 32000)
    soundfile.write(tree / "rain" / "click.wav", np.zeros(320), 32000)
    write_tone(tree / "rain" / "tab\there.wav", 0.3)
    write_tone(tree / "latin.wav", 0.3).rename(tree / os.fsdecode(b"latin\xe9.wav"))
    write_flac_without_length(tree / "stream.flac")


def test_unusable_files_are_left_out_listed_and_counted(tree, tmp_path):
    spoil(tree)
    out = tmp_path / "data"
    done = run_build("folder", tree, "--out", out, "--max-rejected", 0.5, "--stats-clips", 0)
    rejected = [line.split("\t") for name in ("train", "valid") for line in (out / f"{name}.rejected.tsv").open()]
    reasons = {path: reason.strip() for path, reason in rejected}
    assert "unreadable" in reasons.pop("rain/noise.wav")
    assert "expected a header that says how long the file is" in reasons.pop("stream.flac")
    assert reasons == {
        "rain/empty.wav": "empty: 0 frames",
        "rain/click.wav": "too short: 0.010 s",
        "rain/tab here.wav": "the path holds a tab or a line break, which a manifest cannot",
        "latin\\udce9.wav": "the path is not UTF-8",
    }
    assert len(read_manifest(out / "train.tsv")) + len(read_manifest(out / "valid.tsv")) == 16
    assert done.stdout.splitlines()[-1].endswith("rejected 6 of 22 files, listed with the reason in *.rejected.tsv")


def test_too_many_unusable_files_fail(tree, tmp_path):
    spoil(tree)
    done = run_build("folder", tree, "--out", tmp_path / "data", code=2)
    assert "more than --max-rejected 0.05 of the files cannot be used" in done.stderr
    assert "rejected 6 of 22 files" in done.stdout.splitlines()[-1]
    done = run_build("folder", tree, "--out", tmp_path / "data", "--min-sec", 10, "--max-rejected", 1, code=2)
    assert "no clip is left for train, valid" in done.stderr


@pytest.mark.parametrize(
    "args, message",
    [
        (["folder", "nowhere"], "expected a directory of audio, found none at nowhere"),
        (["folder", "nothing"], "expected .wav, .flac, .ogg, .mp3 files below nothing, found none"),
        (["fsdd", "sounds"], "expected `0_george_12.wav` and its like in sounds, found 'a!.wav'"),
        (["folder", "sounds/a!"], "expected at least two files below sounds/a!, one to hold out, found ['1.wav']"),
        (["folder", "sounds", "--labels-from-parent"], "expected every file in the folder of its class, found a!.wav"),
        (
            ["folder", "classes", "--labels-from-parent"],
            "expected folders whose names differ in letters, found ['a', 'a!']",
        ),
        (["merge", "--train", "a", "--valid", "b:c"], "expected DATA_DIR:SUBSET[,SUBSET], found 'a'"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, monkeypatch, args, message):
    for name in ("sounds/a!.wav", "sounds/a!/1.wav", "classes/a/1.wav", "classes/a!/1.wav"):
        write_tone(tmp_path / name, 0.1)
    (tmp_path / "nothing").mkdir()
    monkeypatch.chdir(tmp_path)
    assert message in run_build(*args, "--out", tmp_path / "data", code=2).stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "args, message",
    [
        (["folder", "--valid-fraction", "1.5"], "expected a fraction from 0 to 1, found 1.5"),
        (["folder", "--max-rejected", "-0.1"], "expected a fraction from 0 to 1, found -0.1"),
        (["folder", "--workers", "0"], "expected a whole number of at least 1, found 0"),
        (["folder", "--min-sec", "x"], "expected seconds above 0, found x"),
        (["demo", "--clips-per-kind", "1"], "expected a whole number of at least 2, found 1"),
        (["stats", "--clips", "0"], "expected a whole number of at least 1, found 0"),
        (["stats", "--channel", "centre"], "invalid choice: 'centre'"),
    ],
)
def test_arguments_out_of_range_are_refused(args, message):
    assert message in run_build(*args, code=2).stderr


def test_an_earlier_builds_files_do_not_contradict_this_one(tree, tmp_path):
    out = tmp_path / "data"
    run_build("folder", tree, "--out", out, "--labels-from-parent")
    assert (out / "mel_stats.json").exists()
    run_build("folder", tree, "--out", out, "--stats-clips", 0)
    assert sorted(p.name for p in out.iterdir()) == [
        "train.rejected.tsv", "train.tsv", "valid.rejected.tsv", "valid.tsv",
    ]  # fmt: skip


SLOW_SOUNDFILE = """
import time
class SoundFileError(Exception):
    pass
class SoundFile:
    def __init__(self, path):
        time.sleep(60)
"""


def before_other_modules(directory):
    """An environment in which the modules of a directory stand in for installed ones."""
    path = os.pathsep.join([str(directory), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


def test_an_interrupt_leaves_nothing_half_written(tree, tmp_path):
    """Headers that take a minute each, so that the signal comes while they are read."""
    (tmp_path / "soundfile.py").write_text(SLOW_SOUNDFILE)
    out = tmp_path / "data"
    command = [*BUILD, "folder", tree, "--out", out]
    running = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=before_other_modules(tmp_path),
        # what a shell starts in the background ignores the signal, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert "headers" in running.stderr.read(20)  # the progress bar has begun
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 130 and "interrupted" in errors and not out.exists()


def test_an_interrupt_while_modules_are_imported_is_one_line(tmp_path):
    (tmp_path / "soundfile.py").write_text("raise KeyboardInterrupt")
    done = subprocess.run([*BUILD, "--help"], capture_output=True, text=True, env=before_other_modules(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "maskspec-build: interrupted\n")


def test_stats_are_those_of_the_training_subset(tree, tmp_path):
    out = tmp_path / "data"
    run_build("folder", tree, "--out", out)
    assert list(json.loads((out / "mel_stats.json").read_text())) == ["paper"]
    run_build("stats", out, "--front-end", "reference", "--clips", 5, "--channel", "left")
    entries = json.loads((out / "mel_stats.json").read_text())
    assert entries["paper"]["subsets"]["train"]["clips"] == len(read_manifest(out / "train.tsv"))
    measured = entries["reference"]["subsets"]["train"]
    assert measured["clips"] == 5 and entries["reference"]["channel"] == "left"
    assert entries["reference"]["front_end"]["f_max"] == 15000.0
    assert len(measured["mean"]) == len(measured["std"]) == 128


def test_stats_knows_every_front_end():
    assert "{" + ",".join(sorted(FRONT_ENDS)) + "}" in run_build("stats", "--help").stdout


def test_statistics_that_cannot_be_measured_are_refused(tree, tmp_path):
    out = tmp_path / "data"
    run_build("folder", tree, "--out", out, "--stats-clips", 0)
    done = run_build("stats", out, "--sample-rate", 16000, code=2)
    assert "expected a sample rate of at least 28000 Hz for the mel filters" in done.stderr
    gone = read_manifest(out / "train.tsv").full_path(3)
    os.unlink(gone)
    done = run_build("stats", out, code=2)  # 1 of 15 is over 5 %
    assert f"left out of the statistics: {gone}" in done.stderr
    assert "14 clips of train, 1 left out" in done.stdout


def test_demo_is_labelled_and_the_same_for_a_seed(tmp_path):
    outs = [tmp_path / name for name in ("one", "two", "other")]
    for out, seed in zip(outs, (1, 1, 2)):
        run_build("demo", "--out", out, "--clips-per-kind", 3, "--seed", seed, "--stats-clips", 0)
    manifest, labels = read_subset(outs[0], "train")
    assert len(manifest) == 20 and len({label[0] for label in labels}) == 10
    assert len(read_manifest(outs[0] / "valid.tsv")) == 10
    one, two, other = ([soundfile.read(out / "audio" / path)[0] for path in manifest.paths] for out in outs)
    assert all(np.array_equal(a, b) for a, b in zip(one, two))
    assert not any(np.array_equal(a, b) for a, b in zip(one, other))
    assert all(0.05 < np.abs(clip).max() <= 1 and 2 <= len(clip) / 32000 <= 4 for clip in one)
    plain = tmp_path / "plain"
    plain.mkdir()
    assert (outs[0] / "audio").stat().st_mode == plain.stat().st_mode  # others may read it as far as the umask says


def test_esc10_folds_are_the_first_digit(tmp_path):
    audio = tmp_path / "ESC-10"
    for fold in range(1, 6):
        for number, name in enumerate(["001 - Dog bark", "002 - Rain", "006 - Person sneeze"]):
            write_tone(audio / name / f"{fold}-{1000 + number}-A.ogg", 0.3, 44100, hz=300 + number)
    out = tmp_path / "data"
    done = run_build("esc10", audio, "--out", out)
    for fold in range(1, 6):
        manifest, labels = read_subset(out, f"fold{fold}")
        assert {os.path.basename(path)[0] for path in manifest.paths} == {str(fold)}
        assert labels == [["dog_bark"], ["rain"], ["person_sneeze"]]
    assert "note: ESC-10 has 10 classes and 5 folds of 80 clips, found 3 and [3, 3, 3, 3, 3]" in done.stdout
    write_tone(audio / "stray.ogg", 0.3, 44100)
    message = f"expected `001 - Dog bark/1-100032-A.ogg` and its like in {audio}, found 'stray.ogg'"
    assert message in run_build("esc10", audio, "--out", out, code=2).stderr


def test_fsdd_test_set_is_the_first_five_of_each(tmp_path):
    for number in (0, 4, 5, 49):
        for digit in (0, 7):
            write_tone(tmp_path / "fsdd" / "recordings" / f"{digit}_theo_{number}.wav", 0.3, 8000, hz=300 + number)
    out = tmp_path / "data"
    run_build("fsdd", tmp_path / "fsdd", "--out", out)
    test, labels = read_subset(out, "test")
    assert test.paths == ["0_theo_0.wav", "0_theo_4.wav", "7_theo_0.wav", "7_theo_4.wav"]
    assert labels == [["zero"], ["zero"], ["seven"], ["seven"]]
    assert read_subset(out, "train")[0].paths == ["0_theo_49.wav", "0_theo_5.wav", "7_theo_49.wav", "7_theo_5.wav"]


def test_real_corpora_have_their_official_counts(real_audio, tmp_path):
    done = run_build("esc10", real_audio / "esc10", "--out", tmp_path / "esc10")
    assert "note" not in done.stdout and "rejected 0 of 400" in done.stdout
    with open(tmp_path / "esc10" / "labels.csv") as stream:
        assert [row[2] for row in csv.reader(stream)][1:4] == ["Dog bark", "Rain", "Sea waves"]
    for fold in range(1, 6):
        manifest, labels = read_subset(tmp_path / "esc10", f"fold{fold}")
        assert len(manifest) == 80 and all(
            sum(label == [key] for label in labels) == 8 for key in {k[0] for k in labels}
        )
    done = run_build("fsdd", real_audio / "fsdd", "--out", tmp_path / "fsdd", "--stats-clips", 0)
    assert "note" not in done.stdout and "train 2700, test 300 clips; rejected 0" in done.stdout


def test_merge_joins_subsets_of_several_corpora(tree, tmp_path):
    run_build("folder", tree / "rain", "--out", tmp_path / "rain", "--stats-clips", 0)
    run_build("folder", tree / "deep", "--out", tmp_path / "deep", "--stats-clips", 0)
    out, rain, deep = tmp_path / "both", tmp_path / "rain", tmp_path / "deep"
    run_build("merge", "--out", out, "--train", f"{rain}:train", f"{deep}:train,valid", "--valid", f"{rain}:valid")
    train, valid = read_manifest(out / "train.tsv"), read_manifest(out / "valid.tsv")
    assert (len(train), len(valid)) == (7, 1) and train.root == str(tree)
    assert all(os.path.isfile(train.full_path(index)) for index in range(7))
    done = run_build("merge", "--out", out, "--train", f"{rain}:train", "--valid", f"{rain}:train", code=2)
    assert "expected no file in both train and valid, found 3" in done.stderr
    (tmp_path / "link").symlink_to(tree)
    linked = tmp_path / "linked"
    run_build("folder", tmp_path / "link" / "rain", "--out", linked, "--stats-clips", 0)
    replace_root(linked / "train.tsv", tmp_path / "link" / "rain")
    done = run_build("merge", "--out", out, "--train", f"{rain}:train", "--valid", f"{linked}:train", code=2)
    assert "expected no file in both train and valid, found 3" in done.stderr
    for again in ([f"{rain}:train,train"], [f"{rain}:train", f"{linked}:train"]):
        done = run_build("merge", "--out", out, "--train", *again, "--valid", f"{deep}:valid", code=2)
        assert f"expected every file once in {' '.join(again)}, found 3 more than once" in done.stderr
    done = run_build("merge", "--out", rain, "--train", f"{deep}:train", "--valid", f"{rain}:valid", code=2)
    assert (
        f"expected --out other than the sources, whose manifests and labels it would replace, found {rain}"
        in done.stderr
    )


def replace_root(manifest, root):
    manifest.write_text("\n".join([str(root), *manifest.read_text().split("\n")[1:]]))
