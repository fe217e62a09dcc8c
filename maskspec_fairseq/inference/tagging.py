"""Tag audio files: the classes with the highest scores, for a whole file or for windows of it.

Shapes: C classes, D width.
"""

from typing import Any, Optional

import torch

from maskspec_fairseq.audio.read import clip_samples
from maskspec_fairseq.inference.audio_model import MAX_WINDOWS, AudioModel
from maskspec_fairseq.inference.embed_files import Span, embed_file, embed_spans


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
) -> list[dict[str, Any]]:
    """Tag a file.

    Args:
        model: with labels.
        path: of the file.
        top_k: how many classes.
        windows: of `window_samples`; None to tag the file as a whole.
        batch_size: how many windows of the model's length are encoded together.

    Returns:
        For each window, or the one file: `file`, `start_sec`, `end_sec` and `tags`, a list of `key`, `name` and `score`
        (a probability), the highest score first.

    Raises:
        AudioError: see `load_clip`.
    """
    if windows is None:
        return [tag_span(model, path, embed_file(model, path, batch_size), top_k)]
    return [tag_span(model, path, span, top_k) for span in embed_spans(model, path, *windows, batch_size=batch_size)]


@torch.inference_mode()
def tag_span(model: AudioModel, path: str, span: Span, top_k: int) -> dict[str, Any]:
    """What `tag_file` returns for one span of a file."""
    scores = model.scores(model.network.head(span.embedding.to(model.device))).cpu()  # (C,)
    tags = [
        {"key": model.labels[n].key, "name": model.labels[n].name, "score": round(scores[n].item(), 6)}
        for n in scores.argsort(descending=True, stable=True)[:top_k].tolist()
    ]
    return {"file": path, "start_sec": round(span.start_sec, 6), "end_sec": round(span.end_sec, 6), "tags": tags}
