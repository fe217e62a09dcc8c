"""What maskspec-build refuses before it opens an audio file: directories it may not write to, and names of files."""

import os

import pytest

from tests.factories import run_build, run_build_program, write_tone


@pytest.fixture()
def tree(tmp_path):
    for name in ("cat/1.wav", "dog/2.wav", "dog/3.wav"):
        write_tone(tmp_path / "audio" / name, 0.1, 8000)
    return tmp_path / "audio"


@pytest.fixture()
def refusal():
    """Arguments -> what maskspec-build says on its one line of errors."""

    def run(*args):
        error = run_build(*args, code=2).stderr
        assert error.count("\n") == 1 and error.startswith("maskspec-build: ")  # neither a progress bar nor a traceback
        return error

    return run


@pytest.mark.parametrize("name", ["eval.tsv", "eval.lbl", "eval.rejected.tsv"])
def test_subsets_of_another_build_are_not_left_beside_the_new_ones(tree, tmp_path, refusal, name):
    out = tmp_path / "data"
    run_build("folder", tree, "--out", out, "--labels-from-parent", "--stats-clips", 0)
    (out / name).write_text("")
    before = contents(out)
    for command in (["folder", tree], ["demo"]):
        message = refusal(*command, "--out", out)
        assert (
            f"--out {out}: expected no subsets but train, valid, found eval, of another build; name another" in message
        )
    assert contents(out) == before
    (out / name).rename(out / f".{name}")  # as the shadow files of macOS
    run_build("folder", tree, "--out", out, "--stats-clips", 0)


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("labels.csv", "id,name\n0,dog\n", "labels.csv, line 1: expected index,mid,display_name"),
        ("labels.csv", "", "labels.csv, line 1: expected index,mid,display_name"),
        ("train.tsv", "a.wav\t100\nb.wav\t100\n", "train.tsv: expected a manifest that this build may replace"),
        ("train.tsv", "/audio\na.wav\tdog\n", "train.tsv: expected a manifest that this build may replace"),
        ("valid.tsv", "my notes\non the corpus\n", "valid.tsv: expected a manifest that this build may replace"),
        ("valid.tsv", "\na.wav\t100\n", "valid.tsv: expected a manifest that this build may replace"),
    ],
)
def test_a_users_own_files_are_not_overwritten(tree, tmp_path, refusal, name, text, message):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_text(text)
    assert message in refusal("folder", tree, "--out", tmp_path / "data")
    assert contents(tmp_path / "data") == {name: text.encode()}


def test_the_demo_replaces_no_audio_but_its_own(tree, refusal):
    out = tree.parent
    assert f"{tree}: expected the folders of an earlier demo, which are replaced, found 'cat'" in refusal(
        "demo", "--out", out
    )
    assert sorted(os.listdir(tree)) == ["cat", "dog"] and os.listdir(out) == ["audio"]


def test_an_out_that_cannot_be_written_is_refused_first(tree, tmp_path, refusal):
    (tmp_path / "file").write_text("not a directory")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for out in (tmp_path / "file", tmp_path / "file" / "below" / "it", tmp_path / "dangling", "/proc/nowhere"):
        for command in (["folder", tree / "there_is_none"], ["demo"]):
            assert f"--out {out}: expected a directory that can be written, found /" in refusal(*command, "--out", out)
    assert sorted(os.listdir(tmp_path)) == ["audio", "dangling", "file"]


def test_directories_whose_path_no_manifest_can_hold_are_refused(tree, tmp_path, refusal):
    names = {
        b"caf\xe9": "the path is not UTF-8",
        b"a\tb": "the path holds a tab",
        b"a\nb": "the path holds a line break",
    }
    for name, message in names.items():
        root = tmp_path / os.fsdecode(name)
        tree.rename(root)
        found = refusal("folder", root, "--out", tmp_path / "data")
        assert f"the directory of the audio, {str(root)!r}: {message}" in found and "rename it" in found
        found = refusal("demo", "--out", root)
        assert f"the directory of the audio, {str(root / 'audio')!r}: {message}" in found
        root.rename(tree)
    assert os.listdir(tmp_path) == ["audio"] and sorted(os.listdir(tree)) == ["cat", "dog"]


def test_classes_whose_name_is_not_utf8_are_refused(tree, tmp_path, refusal):
    name = os.fsdecode(b"caf\xe9")
    (tree / "cat").rename(tree / name)
    found = refusal("folder", tree, "--labels-from-parent", "--out", tmp_path / "data")
    assert f"expected a class whose name is text, found {name!r}, which is not UTF-8; rename it" in found
    write_tone(tmp_path / "ESC-10" / "class" / "1-100-A.ogg", 0.1, 44100)
    (tmp_path / "ESC-10" / "class").rename(tmp_path / "ESC-10" / f"001 - {name}")
    found = refusal("esc10", tmp_path / "ESC-10", "--out", tmp_path / "data")
    assert f"expected a class whose name is text, found {name!r}, which is not UTF-8; rename it" in found
    assert not (tmp_path / "data").exists()


def test_what_the_system_refuses_is_one_line(tmp_path, refusal):
    name = "x" * 300
    assert f"maskspec-build: {name}: File name too long; check " in refusal("folder", name, "--out", tmp_path / "data")


def test_a_data_directory_may_have_any_name(tree, tmp_path):
    out = tmp_path / os.fsdecode(b"caf\xe9")
    done = run_build_program("folder", tree, "--out", out, "--stats-clips", 0)
    assert r"caf\udce9: train 2, valid 1 clips; rejected 0 of 3 files" in done.stdout and len(os.listdir(out)) == 4


def test_a_folder_that_cannot_be_read_is_named(tree, tmp_path, refusal, monkeypatch):
    scandir = os.scandir

    def locked(path):  # the tests may run as a user who may read everything
        if path == str(tree / "dog"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    found = refusal("folder", tree, "--out", tmp_path / "data")
    assert f"expected a directory that can be read, found {tree / 'dog'}: Permission denied; make it readable" in found
