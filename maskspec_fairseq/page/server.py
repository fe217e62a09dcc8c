"""Serve a page on this machine alone, without a word to anybody else, and leave nothing of what was uploaded."""

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Callable, Optional

if TYPE_CHECKING:
    import gradio

HOST = "127.0.0.1"
MAX_FILE_BYTES = 1 << 30  # of an upload; an hour of CD audio is 635 MB
DELETE_EVERY_SEC, DELETE_AFTER_SEC = 60, 3600
FONTS = ["system-ui", "sans-serif"]  # the browser's own: gradio's would be fetched from another machine


def check_port(port: int) -> None:
    """Check that a port of this machine is free.

    Raises:
        ValueError: it is in use, or is not the number of a port.
    """
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was closed a moment ago is free
        try:
            attempt.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise ValueError(f"expected a free port of {HOST}, found {port}: {error}; name another by --port") from None


@contextlib.contextmanager
def upload_folder() -> Iterator[Path]:
    """A new folder for all that gradio writes, removed in the end. Enter it before gradio is imported."""
    folder = Path(tempfile.mkdtemp(prefix="maskspec-page-"))
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    known = os.environ.get("NO_PROXY", os.environ.get("no_proxy", ""))
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(filter(None, [known, HOST]))  # the server calls itself
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_file(folder: Path, name: str) -> Path:
    """Where to write a file that a user gets: next to nothing else, at a path that nobody can guess."""
    return Path(tempfile.mkdtemp(dir=folder), name)


def serve(page: "gradio.Blocks", port: int, ready: Callable[[str], None]) -> None:
    """Serve a page until Ctrl-C or SIGTERM.

    Args:
        page: with `delete_cache`.
        port: that is free.
        ready: is given the address when it can be opened.

    Raises:
        KeyboardInterrupt: on Ctrl-C, when the page is closed.
    """
    import gradio

    ended = threading.Event()

    def end(number: int, frame: Optional[FrameType]) -> None:
        ended.set()

    before = signal.signal(signal.SIGTERM, end)
    try:
        _, address, _ = page.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            run_history=False,
            enable_monitoring=False,
            strict_cors=True,
            max_file_size=MAX_FILE_BYTES,
            prevent_thread_lock=True,
            inbrowser=False,
            inline=False,
            quiet=True,
            footer_links=[],
            _frontend=False,  # else it asks itself for the page, and gives up after 3 s on a busy machine
            theme=gradio.themes.Default(font=FONTS, font_mono=["monospace"]),
        )
        ready(address)
        while not ended.wait(1):
            pass
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the page is closed, and what was uploaded is deleted") from None
    finally:
        signal.signal(signal.SIGTERM, before)
        page.close(verbose=False)
