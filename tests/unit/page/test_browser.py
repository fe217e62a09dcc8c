"""maskspec-page in a real browser: Chromium, as Debian packages it, without a window."""

import contextlib
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from maskspec_fairseq.cli import tag
from tests.factories import (
    REPOSITORY,
    pretraining_cfg,
    save_checkpoint,
    save_exported,
    small_autoencoder,
    tagging_model,
    write_tone,
)

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser: pip install playwright")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
    # found, not imported: each process of pytest reads this file, and gradio's import takes seconds
    pytest.mark.skipif(find_spec("gradio") is None, reason="no gradio here: pip install 'maskspec-fairseq[page]'"),
]

PATIENCE_MS = 120_000  # what takes a second on a quiet machine


class Program:
    """maskspec-page, running."""

    def __init__(self, folder, checkpoint, *arguments):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        folder.mkdir()
        self.folder, self.address = folder, f"http://127.0.0.1:{port}/"
        self.stderr = folder.parent / f"{folder.name}.txt"
        command = [sys.executable, "-m", "maskspec_fairseq.cli.page", "--checkpoint", checkpoint, "--device", "cpu"]
        self.process = subprocess.Popen(
            [*command, "--port", str(port), *arguments],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE, stderr=self.stderr.open("w"), text=True,
        )  # fmt: skip

    def wait(self):
        assert self.process.stdout.readline().startswith(self.address), self.stderr.read_text()

    def uploads(self):
        return [path for path in self.folder.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def programs(folder):
    """The pages of a finetuned and of a pretrained model, which start at the same time."""
    tagging = save_exported(tagging_model(), folder / "tagging")
    pretrained = save_checkpoint(folder / "pretrained.pt", small_autoencoder(), pretraining_cfg())
    started = [Program(folder / "a", tagging, "--window", "0.5", "--hop", "0.25"), Program(folder / "b", pretrained)]
    try:
        for program in started:
            program.wait()
        yield started
    finally:
        for program in started:
            program.process.kill()
            program.process.wait()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)


class User:
    """Somebody with a window of their own."""

    def __init__(self, browser, address):
        self.page = browser.new_context().new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.requests = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("#file input[type=file]", state="attached")

    def drop(self, path):
        self.page.set_input_files("#file input[type=file]", path)

    def is_told(self, text):
        """Wait for a sentence."""
        sync_api.expect(self.page.locator("#said")).to_contain_text(text, timeout=PATIENCE_MS)
        return self.page.inner_text("#said")

    def picture(self, other_than=None):
        """Wait for a picture, and return its address."""
        self.page.wait_for_function(
            "(before) => { const image = document.querySelector('#picture img'); return image && image.src != before }",
            arg=other_than,
        )
        return self.page.get_attribute("#picture img", "src")

    def move(self, slider, value):
        number = self.page.locator(f"#{slider} input[type=number]")
        number.fill(str(value))
        number.press("Enter")

    def table(self):
        with self.page.expect_download() as download:
            self.page.click("#download")
        return Path(download.value.path()).read_text()


def maskspec_tag(monkeypatch, folder, name):
    monkeypatch.chdir(folder)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert tag.main([name, "--checkpoint", "tagging", "--window", "0.5", "--hop", "0.25"]) == 0
    return output.getvalue()


def test_the_page_of_a_finetuned_model(folder, programs, browser, monkeypatch):
    """Tags, slider and table; failures in a sentence; two users at once; nothing is asked of another machine."""
    low, high = (write_tone(folder / f"{name}.wav", 2.0, hz=hz) for name, hz in (("low", 300), ("high", 3000)))
    (folder / "text.wav").write_text("no <b>audio</b>")
    flac = write_tone(folder / "whole.flac", 2.0).read_bytes()
    (folder / "cut.flac").write_bytes(flac[: len(flac) // 2])
    program = programs[0]
    one, other = User(browser, program.address), User(browser, program.address)
    one.drop(low)
    other.drop(high)
    assert one.is_told("windows").strip() == "low.wav: 2.00 s, 7 windows"
    assert other.is_told("windows").strip() == "high.wav: 2.00 s, 7 windows"
    pictures = one.picture(), other.picture()
    assert pictures[0] != pictures[1]

    one.move("threshold", 0.99)
    assert one.picture(other_than=pictures[0]) != other.picture() == pictures[1]
    assert one.table() == maskspec_tag(monkeypatch, folder, "low.wav")
    assert other.table() == maskspec_tag(monkeypatch, folder, "high.wav")

    for name in ("text.wav", "cut.flac"):
        one.drop(folder / name)
        said = one.is_told(f"{name}: expected audio that soundfile decodes, found").strip()
        assert "\n" not in said and "/" not in said and "Traceback" not in said
        sync_api.expect(one.page.locator("#picture img")).to_have_count(0)
    assert "high.wav" in other.page.inner_text("#said") and other.picture() == pictures[1]

    here = re.compile(rf"{re.escape(program.address)}|data:|blob:")
    assert all(here.match(url) for user in (one, other) for url in user.requests)
    assert not program.stderr.read_text()


def test_the_page_of_a_pretrained_model(folder, programs, browser):
    """The picture and the sound follow the mask ratio; what is recorded is reconstructed, too."""
    program = programs[1]
    user = User(browser, program.address)
    user.drop(write_tone(folder / "tone.wav", 3.0))
    assert user.is_told("first").strip() == "tone.wav: 3.00 s, of which the first 1 s are used"
    before = user.picture()
    sounds = [user.page.locator(f"#{name} [data-testid=waveform-controls]") for name in ("original", "reconstruction")]
    for sound in sounds:
        sync_api.expect(sound).to_be_visible(timeout=PATIENCE_MS)
    user.move("mask-ratio", 0.5)
    before = user.picture(other_than=before)
    assert "phase is guessed" in user.page.inner_text("body")

    user.page.get_by_role("button", name="Record").click()
    time.sleep(1.5)
    user.page.get_by_role("button", name="Stop").first.click()
    assert re.search(r"wav: [123]\.\d\d s", user.is_told(".wav: "))
    user.picture(other_than=before)
    assert not program.stderr.read_text()


def test_nothing_is_left_of_what_was_uploaded(folder, programs, browser):
    for program in programs:
        user = User(browser, program.address)
        user.drop(write_tone(folder / "last.wav", 0.6))
        user.is_told("last.wav: 0.60 s")
        assert any(path.name == "last.wav" for path in program.uploads())
        program.process.terminate()
        assert program.process.wait(60) == 0
        assert not program.uploads() and not list(program.folder.glob("maskspec-page-*"))
    assert not list(Path(tempfile.gettempdir()).glob("gradio/*/last.wav"))
