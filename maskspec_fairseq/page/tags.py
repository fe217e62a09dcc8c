"""The scores of a file over time, and what is above a threshold.

Shapes: N rows (windows or frames), C classes.
"""

from dataclasses import dataclass
from typing import Optional

import numpy as np

from maskspec_fairseq.event_metrics import TimedEvent
from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.inference.embed_files import ScoreEncoder
from maskspec_fairseq.inference.events import Detection, Frames, find_events, table_lines
from maskspec_fairseq.inference.file_batches import encode_file
from maskspec_fairseq.inference.tagging import span_lines, tag_file
from maskspec_fairseq.page.overview import Progress, length_sec

TOP_K = 8  # classes per window in the table, as maskspec-tag prints by default


@dataclass(frozen=True)
class Tags:
    """The scores of a file.

    Attributes:
        file: its name, without its folder.
        names: C names of classes.
        scores: probabilities, float (N, C).
        starts, ends: of the rows, (N,), s.
        frames: the same scores, of a model with a head of frames; else None.
        lines: of the windows, as maskspec-tag prints them; None for a model with a head of frames.
    """

    file: str
    names: list[str]
    scores: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    frames: Optional[Frames]
    lines: Optional[str]

    def events(self, threshold: float) -> list[TimedEvent]:
        """What is above a threshold: events of a model with a head of frames, else windows, class by class."""
        if self.frames is not None:
            return find_events(self.frames, self.names, Detection(threshold))
        above = np.argwhere((self.scores >= threshold).T)  # (class, row) each
        return [
            TimedEvent(float(self.starts[row]), float(self.ends[row]), self.names[c], float(self.scores[row, c]))
            for c, row in above
        ]

    def table(self, threshold: float) -> str:
        """What maskspec-tag prints: `--events --threshold` of a model with a head of frames, else `--window`."""
        if self.lines is not None:
            return self.lines
        rows = [(self.file, event) for event in self.events(threshold)]
        return "".join(f"{line}\n" for line in table_lines(rows, scores=True))


def read_tags(
    model: AudioModel,
    path: str,
    name: str,
    windows: Optional[tuple[int, int]],
    progress: Progress = lambda share: None,
) -> Tags:
    """Compute the scores of a file of any length, which is read in blocks.

    Args:
        model: with labels.
        path: of the file.
        name: of the file, in the table.
        windows: of `window_samples`; None for the model's length. Not used for a model with a head of frames.
        progress: is told how much is done.

    Raises:
        AudioError: see `load_clip`.
    """
    expected = max(1e-9, length_sec(path))
    names = [label.name for label in model.labels]

    def report(seconds: float) -> None:
        progress(min(1.0, seconds / expected))

    if model.network.head_of_frames:
        frames = encode_file(ScoreEncoder(model), path, progress=report)
        starts = np.maximum(0, frames.times - frames.step_sec / 2)
        ends = np.minimum(frames.end_sec, frames.times + frames.step_sec / 2)
        return Tags(name, names, frames.scores, starts, ends, frames, None)
    size, hop = windows or (model.window_samples, model.window_samples)
    results = tag_file(model, path, len(names), (size, hop), progress=report)
    column = {(label.key, label.name): number for number, label in enumerate(model.labels)}
    scores = np.empty((len(results), len(names)), dtype=np.float32)
    for row, result in enumerate(results):
        for tag in result["tags"]:
            scores[row, column[tag["key"], tag["name"]]] = tag["score"]
    starts, ends = (np.array([result[key] for result in results]) for key in ("start_sec", "end_sec"))
    shown = [span_lines({**result, "file": name, "tags": result["tags"][:TOP_K]}) for result in results]
    return Tags(name, names, scores, starts, ends, None, "".join(f"{lines}\n" for lines in shown))
