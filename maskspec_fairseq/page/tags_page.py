"""The page of a finetuned model: the tags of a file over time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Optional

import gradio

from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.page.blocks import FAILURES, add_inputs, add_said, listen, new_page, say, say_failure
from maskspec_fairseq.page.figures import draw_overview, draw_tags
from maskspec_fairseq.page.overview import Overview, read_overview
from maskspec_fairseq.page.server import new_file
from maskspec_fairseq.page.tags import Tags, read_tags

TOGETHER = 2  # files that are read at a time: a short one does not wait for an hour of audio
THRESHOLD = 0.5


class Result(NamedTuple):
    """What a user sees, kept for the slider until the page is left."""

    overview: Overview
    tags: Tags


def tags_page(model: AudioModel, name: str, windows: Optional[tuple[int, int]], folder: Path) -> gradio.Blocks:
    """The page.

    Args:
        model: with labels.
        name: of the model, for the title.
        windows: see `read_tags`.
        folder: of `upload_folder`.
    """

    def pictures(result: Result, threshold: float) -> tuple[str, str]:
        """The picture and the table, as files."""
        stem = Path(result.tags.file).stem
        picture = new_file(folder, f"{stem}.png")
        draw_tags(result.overview, result.tags, threshold, picture)
        table = new_file(folder, f"{stem}.{'txt' if result.tags.frames is None else 'tsv'}")
        table.write_text(result.tags.table(threshold), encoding="utf-8")
        return str(picture), str(table)

    def analyse(path: Optional[str], threshold: float, progress=gradio.Progress()) -> Iterator[dict[Any, Any]]:  # noqa: B008
        if path is None:
            return
        name = Path(path).name
        yield {said: say(f"{name}: reading"), kept: None, picture: None, download: gradio.update(interactive=False)}
        try:
            overview = read_overview(
                model.network.front_end, path, model.channel, lambda share: progress(share, desc="log-mel", unit="file")
            )
            first = new_file(folder, f"{Path(name).stem}.png")
            draw_overview(overview, name, first)
            yield {picture: str(first)}
            tags = read_tags(model, path, name, windows, lambda share: progress(share, desc="tags", unit="file"))
        except FAILURES as error:
            yield {said: say_failure(error, path), file: None}
            return
        result = Result(overview, tags)
        drawn, table = pictures(result, threshold)
        yield {
            said: say(f"{name}: {overview.end_sec:.2f} s, {rows_in_words(tags)}"),
            kept: result,
            picture: drawn,
            download: gradio.update(value=table, interactive=True),
            file: None,
        }

    def redraw(result: Optional[Result], threshold: float) -> dict[Any, Any]:
        if result is None:
            return {picture: gradio.skip()}
        drawn, table = pictures(result, threshold)
        return {picture: drawn, download: gradio.update(value=table)}

    with new_page(f"Tags by {name}") as page:
        file, recording = add_inputs(
            f"Tags by {name}",
            f"What a file sounds like over time: {len(model.labels)} classes, {unit_in_words(model, windows)}.",
        )
        said = add_said()
        threshold = gradio.Slider(0, 1, THRESHOLD, step=0.01, label="Threshold", elem_id="threshold")
        picture = gradio.Image(
            show_label=False, interactive=False, format="png",
            buttons=["download", "fullscreen"], elem_id="picture",
        )  # fmt: skip
        download = gradio.DownloadButton("Download the table", interactive=False, elem_id="download")
        kept = gradio.State()
        outputs = [said, kept, picture, download, file]
        listen(file, recording, analyse, [threshold], outputs, concurrency_limit=TOGETHER, show_progress_on=[picture])
        threshold.change(
            redraw, [kept, threshold], [picture, download], trigger_mode="always_last", api_visibility="private",
            show_progress="hidden", concurrency_limit=TOGETHER,
        )  # fmt: skip
    return page


def unit_in_words(model: AudioModel, windows: Optional[tuple[int, int]]) -> str:
    """What a score is of."""
    if model.network.head_of_frames:
        return f"a score every {1000 * model.column_samples / model.sample_rate:.0f} ms"
    size, hop = windows or (model.window_samples, model.window_samples)
    return f"windows of {size / model.sample_rate:g} s, one every {hop / model.sample_rate:g} s"


def rows_in_words(tags: Tags) -> str:
    """How many scores a class has in a file."""
    count = len(tags.scores)
    what = "window" if tags.frames is None else "frame"
    return f"{count} {what}{'' if count == 1 else 's'}"
