"""What both pages have: where a file comes in, where a sentence is said, and how failures become one."""

import html
from pathlib import Path
from typing import Any, Callable

import gradio

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.page.server import DELETE_AFTER_SEC, DELETE_EVERY_SEC, MAX_FILE_BYTES

FAILURES = (AudioError, ValueError)  # what a user can cure
STYLE = "#said p { margin: 0; font-size: 1.05rem; } #said .failed { color: #b91c1c; }"


def new_page(title: str) -> gradio.Blocks:
    """A page whose files are deleted."""
    return gradio.Blocks(title=title, analytics_enabled=False, delete_cache=(DELETE_EVERY_SEC, DELETE_AFTER_SEC))


def add_inputs(title: str, text: str) -> tuple[gradio.File, gradio.Audio]:
    """The head of a page: what it is, a place to drop a file, and a microphone."""
    gradio.HTML(f"<style>{STYLE}</style><h1>{html.escape(title)}</h1><p>{html.escape(text)}</p>", padding=False)
    with gradio.Row():
        size = MAX_FILE_BYTES >> 30
        file = gradio.File(label=f"A file (up to {size} GB), which stays on this machine", height=170, elem_id="file")
        recording = gradio.Audio(
            sources=["microphone"],
            type="filepath",
            label="or a recording",
            editable=False,
            buttons=[],
            elem_id="record",
        )
    return file, recording


def add_said() -> gradio.HTML:
    """Where a sentence is said."""
    return gradio.HTML(elem_id="said", padding=False)


def say(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def say_failure(error: Exception, path: str) -> str:
    """The sentence of a failure, with the name of the file instead of its path."""
    return f'<p class="failed">{html.escape(str(error).replace(path, Path(path).name))}</p>'


def listen(
    file: gradio.File,
    recording: gradio.Audio,
    analyse: Callable[..., Any],
    inputs: list[Any],
    outputs: list[Any],
    **how: Any,
) -> None:
    """Let a function run on each file that is dropped, and on each recording.

    Args:
        analyse: is given the path, and the values of the inputs.
        how: see `gradio.events`.
    """
    for change, source in ((file.upload, file), (recording.stop_recording, recording)):
        change(analyse, [source, *inputs], outputs, trigger_mode="always_last", api_visibility="private", **how)
