"""What maskspec-page refuses before it serves anything; the page itself is tested in tests/unit/page."""

import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from maskspec_fairseq.cli import page
from maskspec_fairseq.page.server import upload_folder
from tests.factories import pretraining_cfg, save_checkpoint, save_exported, small_autoencoder, tagging_model


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def fails(capsys, *arguments):
    assert page.main([str(argument) for argument in ("--device", "cpu", *arguments)]) == 2
    said = capsys.readouterr()
    assert not said.out and said.err.startswith("maskspec-page: ") and said.err.count("\n") == 1
    return said.err


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """What the program sets for gradio is undone, and its temporary folder is here."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_port_in_use_is_refused_before_the_model_is_read(capsys):
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        port = used.getsockname()[1]
        error = fails(capsys, "--checkpoint", "none.pt", "--port", port)
    assert f"expected a free port of 127.0.0.1, found {port}: " in error and "name another by --port" in error
    assert "found 70000: " in fails(capsys, "--checkpoint", "none.pt", "--port", 70000)


def test_a_hop_without_a_window_is_refused(capsys):
    assert "expected --hop with --window, found --hop 1 alone" in fails(capsys, "--checkpoint", "none.pt", "--hop", 1)


def test_without_gradio_the_message_says_how_to_get_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)  # as if it were not installed
    error = fails(capsys, "--checkpoint", "none.pt", "--port", free_port())
    assert "expected gradio, which serves the page, found: " in error and "maskspec-fairseq[page]" in error


def test_a_model_that_has_no_page_is_refused(tmp_path, capsys, monkeypatch):
    pytest.importorskip("gradio", reason="maskspec-page needs gradio: pip install 'maskspec-fairseq[page]'")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pretrained = save_checkpoint(tmp_path / "p.pt", small_autoencoder(), pretraining_cfg())
    frames = save_exported(tagging_model(multilabel=True, head="frames"), tmp_path / "frames")
    bare = save_exported(tagging_model(labels=()), tmp_path / "bare")
    for arguments, message in [
        (["none.pt"], "none.pt: expected a checkpoint of a maskspec run, found no such file"),
        (["organisation/model"], "organisation/model: expected a checkpoint or a folder here, or"),
        ([bare], "expected a model with labels, found one without"),
        ([pretrained, "--window", 1], "expected a finetuned model for --window, found one of a pretraining"),
        ([frames, "--window", 1], "expected a model of clips for --window, found one with a head of frames"),
        ([save_exported(tagging_model(), tmp_path / "m"), "--window", 1, "--hop", 2], "expected --hop up to the 1 s"),
    ]:
        assert message in fails(capsys, "--port", free_port(), "--checkpoint", *arguments)
    assert not list(tmp_path.glob("maskspec-page-*"))


def test_uploads_are_removed_whatever_happens():
    def interrupted():
        with upload_folder() as folder:
            folders.append(folder)
            Path(folder, "upload").mkdir()
            Path(folder, "upload", "a.wav").write_bytes(b"sound")
            signal.raise_signal(signal.SIGINT)

    folders = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell makes it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    finally:
        signal.signal(signal.SIGINT, before)
    assert folders and not folders[0].exists()


@pytest.mark.parametrize(
    "path, name",
    [("/runs/esc10/fold1/checkpoints/a.pt", "fold1/a.pt"), ("/a.pt", "a.pt"), ("/x/exported/", "x/exported")],
)
def test_a_model_is_called_by_its_run(path, name):
    assert page.model_name(path) == name
