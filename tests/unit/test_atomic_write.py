import os

import pytest

from maskspec_fairseq.atomic_write import write_together, write_whole


def test_one_file_replaces_the_old_one_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "a file"
    write_whole(path, lambda scratch: scratch.write_text("first"))
    seen = []

    def write(scratch):
        scratch.write_text("second")
        seen.append((path.read_text(), os.stat(scratch).st_dev == os.stat(path.parent).st_dev))

    write_whole(str(path), write)
    assert seen == [("first", True)] and path.read_text() == "second" and os.listdir(path.parent) == ["a file"]


def test_a_bare_name_is_written_to_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_whole("x", lambda scratch: scratch.write_text("here"))
    assert (tmp_path / "x").read_text() == "here"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupt_leaves_the_old_files_and_nothing_else(tmp_path, error):
    def interrupted(scratch):
        scratch.write_text("half")
        raise error

    for name in ("one", "two", "stale"):
        (tmp_path / name).write_text("old")
    with pytest.raises(error):
        write_whole(tmp_path / "one", interrupted)
    with pytest.raises(error):
        write_together(tmp_path, {"one": lambda path: path.write_text("new"), "two": interrupted}, ["stale"])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(["one", "two", "stale"], "old")


def test_stale_files_go_when_the_new_ones_are_complete(tmp_path):
    (tmp_path / "stale").write_text("old")
    write_together(tmp_path, {"one": lambda path: path.write_text("new")}, ["stale", "never there"])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"one": "new"}


def test_errors_name_what_was_asked_for(tmp_path):
    """And no scratch file, which nobody has named."""
    (tmp_path / "taken" / "by").mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as error:
        write_whole(tmp_path / "taken", lambda scratch: scratch.write_text("a file"))
    assert error.value.filename == str(tmp_path / "taken")
    with pytest.raises(FileNotFoundError) as error:
        write_together("/proc", {"a": lambda scratch: scratch.write_text("a file")})
    assert error.value.filename == "/proc"
