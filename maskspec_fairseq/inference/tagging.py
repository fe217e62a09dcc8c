"""Tag audio files: the classes with the highest scores, for a whole file or for windows of it, or events in time.

Shapes: N frames, C classes, D width.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, Optional, Union

import numpy as np
import torch
from torch import Tensor

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import clip_samples
from maskspec_fairseq.data_dir.lines import escaped
from maskspec_fairseq.event_metrics import TimedEvent
from maskspec_fairseq.inference.audio_model import MAX_WINDOWS, AudioModel
from maskspec_fairseq.inference.embed_files import EmbeddingEncoder, ScoreEncoder, Span, SpanEncoder
from maskspec_fairseq.inference.events import Detection, Frames, find_events
from maskspec_fairseq.inference.file_batches import Progress, encode_files

logger = logging.getLogger(__name__)


def window_samples(model: AudioModel, window_sec: float, hop_sec: Optional[float]) -> tuple[int, int]:
    """Samples per window and from one window to the next, at the model's rate.

    Raises:
        ValueError: windows with gaps between them, a window below a column of patches, or a hop below a sample.
    """
    hop_sec = window_sec if hop_sec is None else hop_sec
    if hop_sec > window_sec:
        raise ValueError(
            f"expected --hop up to the {window_sec:g} s of --window, found {hop_sec:g}; samples between two windows "
            "would not be tagged"
        )
    size, hop = (clip_samples(length, model.sample_rate) for length in (window_sec, hop_sec))
    if size < model.column_samples or not hop:
        raise ValueError(
            f"expected --hop of at least one sample at {model.sample_rate} Hz, and --window of at least "
            f"{model.column_samples / model.sample_rate:g} s, a column of the model's patches, found {window_sec:g} "
            f"and {hop_sec:g} s for --window and --hop; take longer ones"
        )
    return size, hop


def tag_files(
    model: AudioModel,
    paths: Sequence[str],
    top_k: int,
    windows: Optional[tuple[int, int]] = None,
    batch_size: int = MAX_WINDOWS,
    workers: int = 0,
    precision: str = "float32",
    progress: Progress = lambda seconds: None,
) -> Iterator[Union[list[dict[str, Any]], AudioError]]:
    """Tag files.

    Args:
        model: with labels.
        paths: of the files.
        top_k: how many classes.
        windows: of `window_samples`; None to tag a file as a whole.
        batch_size, workers, precision, progress: see `encode_files`.

    Yields:
        For each file, in order, why it cannot be read, or a list with an entry for each window, or for the one file:
        `file`, `start_sec`, `end_sec` and `tags`, a list of `key`, `name` and `score` (a probability), the highest
        score first.
    """
    how = (paths, batch_size, workers, precision, progress)
    results: Iterator[Union[Frames, Span, list[Span], AudioError]]
    if model.network.head_of_frames:
        results = encode_files(ScoreEncoder(model), *how)
    elif windows is None:
        results = encode_files(EmbeddingEncoder(model), *how)
    else:
        results = encode_files(SpanEncoder(model, *windows), *how)
    for path, result in zip(paths, results):
        if isinstance(result, AudioError):
            yield result
        elif isinstance(result, Frames):
            yield _tag_frames(model, path, result, top_k, windows)
        else:
            yield [
                tag_span(model, path, span.start_sec, span.end_sec, _clip_scores(model, span.embedding), top_k)
                for span in ([result] if isinstance(result, Span) else result)
            ]


def tag_file(
    model: AudioModel,
    path: str,
    top_k: int,
    windows: Optional[tuple[int, int]] = None,
    progress: Progress = lambda seconds: None,
) -> list[dict[str, Any]]:
    """`tag_files` of one file.

    Raises:
        AudioError: it cannot be read.
    """
    (result,) = tag_files(model, [path], top_k, windows, progress=progress)
    if isinstance(result, AudioError):
        raise result
    return result


def events_of_files(
    model: AudioModel,
    paths: Sequence[str],
    detection: Detection,
    batch_size: int = MAX_WINDOWS,
    workers: int = 0,
    precision: str = "float32",
) -> Iterator[Union[list[TimedEvent], AudioError]]:
    """What sounds in files, and when; the labels are names of classes.

    Args:
        model: with a head of frames.
        paths: of the files.
        detection: see there.
        batch_size, workers, precision: see `encode_files`.

    Yields:
        For each file, in order, its events, or why it cannot be read.
    """
    names = [label.name for label in model.labels]
    for path, frames in zip(paths, encode_files(ScoreEncoder(model), paths, batch_size, workers, precision)):
        if isinstance(frames, AudioError):
            yield frames
            continue
        if np.isnan(frames.scores).any():
            logger.warning("%s: scores that are NaN; is the model damaged?", path)
        yield find_events(frames, names, detection)


@torch.inference_mode()
def _clip_scores(model: AudioModel, embedding: Tensor) -> Tensor:
    """(D,) -> (C,) on the CPU."""
    return model.scores(model.network.head(embedding.to(model.device))).cpu()


def _tag_frames(
    model: AudioModel, path: str, frames: Frames, top_k: int, windows: Optional[tuple[int, int]]
) -> list[dict[str, Any]]:
    """What `tag_files` yields for a model with a head of frames: of each span the maximum over its frames.

    A span in which no frame has its middle gets the nearest one.
    """
    scores, times, _, seconds = frames
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
    """What `tag_files` has for one span of a file, with the scores (C,)."""
    tags = [
        {"key": model.labels[n].key, "name": model.labels[n].name, "score": round(scores[n].item(), 6)}
        for n in scores.argsort(descending=True, stable=True)[:top_k].tolist()
    ]
    return {"file": path, "start_sec": round(start_sec, 6), "end_sec": round(end_sec, 6), "tags": tags}


def span_lines(result: dict[str, Any]) -> str:
    """A span of `tag_files` as text: a line for it, and one per tag; control characters in names are escaped."""
    lines = [f"{escaped(result['file'])}  {result['start_sec']:.2f} to {result['end_sec']:.2f} s"]
    for tag in result["tags"]:
        key = "" if tag["key"] == tag["name"] else f"  ({tag['key']})"
        lines.append(f"  {tag['score']:8.4f}  {escaped(tag['name'] + key)}")
    return "\n".join(lines)
