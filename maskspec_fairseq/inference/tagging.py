"""Tag audio files: the classes with the highest scores, for a whole file or for windows of it, or events in time.

Shapes: N frames, C classes, D width.
"""

import logging
from typing import Any, Callable, Optional

import numpy as np
import torch
from torch import Tensor

from maskspec_fairseq.audio.read import clip_samples
from maskspec_fairseq.event_metrics import TimedEvent
from maskspec_fairseq.inference.audio_model import MAX_WINDOWS, AudioModel
from maskspec_fairseq.inference.embed_files import embed_file, embed_spans, frame_scores
from maskspec_fairseq.inference.events import Detection, escaped, find_events

logger = logging.getLogger(__name__)


def window_samples(model: AudioModel, window_sec: float, hop_sec: Optional[float]) -> tuple[int, int]:
    """Samples per window and from one window to the next, at the model's rate.

    Raises:
        ValueError: windows with gaps between them, or shorter than a sample.
    """
    hop_sec = window_sec if hop_sec is None else hop_sec
    if hop_sec > window_sec:
        raise ValueError(
            f"expected --hop up to the {window_sec:g} s of --window, found {hop_sec:g}; samples between two windows "
            "would not be tagged"
        )
    size, hop = (clip_samples(length, model.sample_rate) for length in (window_sec, hop_sec))
    if not (size and hop):
        raise ValueError(
            f"expected --window and --hop of at least one sample at {model.sample_rate} Hz, found {window_sec:g} and "
            f"{hop_sec:g} s"
        )
    return size, hop


def tag_file(
    model: AudioModel,
    path: str,
    top_k: int,
    windows: Optional[tuple[int, int]] = None,
    batch_size: int = MAX_WINDOWS,
    progress: Callable[[float], None] = lambda seconds: None,
) -> list[dict[str, Any]]:
    """Tag a file.

    Args:
        model: with labels.
        path: of the file.
        top_k: how many classes.
        windows: of `window_samples`; None to tag the file as a whole.
        batch_size: how many windows of the model's length are encoded together.
        progress: is told the seconds of the file that are done, with windows or a head of frames.

    Returns:
        For each window, or the one file: `file`, `start_sec`, `end_sec` and `tags`, a list of `key`, `name` and `score`
        (a probability), the highest score first.

    Raises:
        AudioError: see `load_clip`.
    """
    if model.network.head_of_frames:
        return _tag_frames(model, path, top_k, windows, batch_size, progress)
    spans = [embed_file(model, path, batch_size)] if windows is None else embed_spans(model, path, *windows, batch_size)
    results = []
    for span in spans:
        scores = _clip_scores(model, span.embedding)
        results.append(tag_span(model, path, span.start_sec, span.end_sec, scores, top_k))
        progress(span.end_sec)
    return results


def events_of_file(
    model: AudioModel, path: str, detection: Detection, batch_size: int = MAX_WINDOWS
) -> list[TimedEvent]:
    """What sounds in a file, and when; the labels are names of classes.

    Args:
        model: with a head of frames.
        path: of the file.
        detection: see there.
        batch_size: how many windows of the model's length are encoded together.

    Raises:
        AudioError: see `load_clip`.
    """
    frames = frame_scores(model, path, batch_size)
    if np.isnan(frames.scores).any():
        logger.warning("%s: scores that are NaN; is the model damaged?", path)
    return find_events(frames, [label.name for label in model.labels], detection)


@torch.inference_mode()
def _clip_scores(model: AudioModel, embedding: Tensor) -> Tensor:
    """(D,) -> (C,) on the CPU."""
    return model.scores(model.network.head(embedding.to(model.device))).cpu()


def _tag_frames(
    model: AudioModel,
    path: str,
    top_k: int,
    windows: Optional[tuple[int, int]],
    batch_size: int,
    progress: Callable[[float], None],
) -> list[dict[str, Any]]:
    """What `tag_file` returns for a model with a head of frames: of each span the maximum over its frames.

    A span in which no frame has its middle gets the nearest one.
    """
    scores, times, _, seconds = frame_scores(model, path, batch_size, progress)
    spans = [(0.0, seconds)]
    if windows is not None:
        size, hop = windows
        beyond = max(0, round(seconds * model.sample_rate) - size)
        starts = [number * hop / model.sample_rate for number in range(1 + -(-beyond // hop))]
        spans = [(start, min(start + size / model.sample_rate, seconds)) for start in starts]
    results = []
    for start, end in spans:
        within = (times >= start) & (times < end)
        if not within.any():
            within[abs(times - (start + end) / 2).argmin()] = True
        results.append(tag_span(model, path, start, end, torch.from_numpy(scores[within].max(axis=0)), top_k))
    return results


def tag_span(
    model: AudioModel, path: str, start_sec: float, end_sec: float, scores: Tensor, top_k: int
) -> dict[str, Any]:
    """What `tag_file` returns for one span of a file, with the scores (C,)."""
    tags = [
        {"key": model.labels[n].key, "name": model.labels[n].name, "score": round(scores[n].item(), 6)}
        for n in scores.argsort(descending=True, stable=True)[:top_k].tolist()
    ]
    return {"file": path, "start_sec": round(start_sec, 6), "end_sec": round(end_sec, 6), "tags": tags}


def span_lines(result: dict[str, Any]) -> str:
    """A span of `tag_file` as text: a line for it, and one per tag; control characters in names are escaped."""
    lines = [f"{escaped(result['file'])}  {result['start_sec']:.2f} to {result['end_sec']:.2f} s"]
    for tag in result["tags"]:
        key = "" if tag["key"] == tag["name"] else f"  ({tag['key']})"
        lines.append(f"  {tag['score']:8.4f}  {escaped(tag['name'] + key)}")
    return "\n".join(lines)
