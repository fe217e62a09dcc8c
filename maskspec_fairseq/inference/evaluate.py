"""Score finetuned models on a labelled subset.

Shapes: N clips, T samples, K windows of W samples, B windows of a batch, D width, C classes.
"""

import csv
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import torch
from tqdm import tqdm

from maskspec_fairseq.atomic_write import PathLike, write_together
from maskspec_fairseq.audio.read import clip_samples
from maskspec_fairseq.data.clip_targets import ClipTargets
from maskspec_fairseq.data_dir.events import events_path, read_events
from maskspec_fairseq.data_dir.labels import LABELS_FILE, Label, read_subset_labels, read_vocabulary
from maskspec_fairseq.data_dir.manifest import Manifest, num_rejected, read_manifest
from maskspec_fairseq.event_metrics import event_scores
from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.inference.evaluate_frames import EventEvaluation, check_frames, compare_events, predict_frames
from maskspec_fairseq.inference.events import Detection, write_events_table
from maskspec_fairseq.inference.load import load_labelled_model
from maskspec_fairseq.inference.precision import autocast
from maskspec_fairseq.inference.windowed_clips import WindowedClips, batches, load_in_order
from maskspec_fairseq.metrics import summarise
from maskspec_fairseq.plots import draw_class_scores, draw_confusion

MAX_CONFUSION_CLASSES = 60  # more of them cannot be read in a picture


@dataclass
class Evaluation:
    """The scores of a subset, and what they were computed from.

    summary: the content of `scores.json`.
    manifest, vocabulary, targets: the clips, the classes, and which clip has which.
    logits: float32 (N, C).
    class_scores: float64 (C,), average precision or recall, NaN for a class without clips.
    events: None unless the model has a head of frames and the subset has events.
    """

    summary: dict[str, Any]
    manifest: Manifest
    vocabulary: list[Label]
    targets: ClipTargets
    logits: np.ndarray
    class_scores: np.ndarray
    events: Optional[EventEvaluation] = None


def evaluate(
    checkpoints: Sequence[str],
    data: str,
    subset: str,
    hop_sec: Optional[float] = None,
    batch_size: int = 32,
    workers: int = 1,
    device: str = "cpu",
    detection: Optional[Detection] = None,
    precision: str = "float32",
) -> Evaluation:
    """Score one model, or several by the mean of their logits.

    The logits of a clip by a model with a head of frames are their maximum over time. If the subset has events, its
    events are scored, too.

    Args:
        checkpoints: of finetuning runs, or folders of maskspec-export. Each model is applied to its own channel, in
            windows of its own length.
        data: a data directory (docs/manifests.md) with the classes of the models, in their order.
        subset: name of a manifest there.
        hop_sec: s from one window to the next; a model's length if None.
        batch_size: how many windows, of any clips, are encoded together.
        workers: processes that load audio; 0 to load in this one.
        device: name of a torch device.
        detection: how events are made of the scores of frames; the defaults if None.
        precision: see `autocast`.

    Raises:
        AudioError: a clip cannot be read.
        ManifestError: the subset, its labels or its events cannot be read.
        ValueError: not a finetuned model, other classes than the data's, models of both kinds of task, a hop longer
            than a model's windows, a head of frames with other models or with a hop, or a detection without it.
        OSError: a checkpoint cannot be read.
    """
    manifest = read_manifest(os.path.join(data, f"{subset}.tsv"))
    vocabulary = read_vocabulary(os.path.join(data, LABELS_FILE))
    models = {path: load_labelled_model(path) for path in checkpoints}
    target_is_multilabel = common_task(models, vocabulary, data)
    in_frames = check_frames(models, hop_sec, detection)
    hops = {path: hop_samples(model, hop_sec, path) for path, model in models.items()}
    labels = read_subset_labels(data, subset, vocabulary, len(manifest), target_is_multilabel)
    targets = ClipTargets(labels)
    target, known = targets.stacked()
    has_events = in_frames and os.path.isfile(events_path(data, subset))
    events = read_events(events_path(data, subset), vocabulary, manifest, labels) if has_events else None
    total = np.zeros(target.shape)
    of_events = None
    for path in checkpoints:
        model, title = models[path].to(device), os.path.basename(path)
        if in_frames:
            clips = predict_frames(model, manifest, batch_size, workers, title, precision)
            total += np.stack([logits.max(axis=0) for logits, _ in clips])
            if events is not None and events.total:
                of_events = compare_events(model, clips, events, targets, detection or Detection())
        else:
            total += predict(model, manifest, hops[path], batch_size, workers, title, precision)
        models[path].cpu()
    logits = (total / len(checkpoints)).astype(np.float32)
    scores, class_scores = summarise(logits, target > 0.5, known, target_is_multilabel)
    summary = {
        "checkpoints": list(checkpoints),
        "data": data,
        "subset": subset,
        "clips": len(manifest),
        "clips_listed": len(manifest) + num_rejected(os.path.join(data, f"{subset}.rejected.tsv")),
        "scores": scores,
        "class_score": "average precision" if target_is_multilabel else "recall",
        "classes": {
            label.key: None if np.isnan(value) else float(value) for label, value in zip(vocabulary, class_scores)
        },
    }
    if of_events is not None:
        event_summary, classes = event_scores(of_events.truth, of_events.found)
        scores.update(event_summary)
        summary["event_classes"] = classes
        summary["detection"] = (detection or Detection())._asdict()
    return Evaluation(summary, manifest, vocabulary, targets, logits, class_scores, of_events)


def common_task(models: dict[str, AudioModel], vocabulary: Sequence[Label], directory: str) -> bool:
    """Whether clips have several classes, according to all of the models.

    Args:
        models: by the path that each was loaded from.
        vocabulary: the classes of the data.
        directory: of the data, for messages.

    Raises:
        ValueError: a model whose classes are not those of the data, or models of both kinds.
    """
    expected = [label.key for label in vocabulary]
    for path, model in models.items():
        keys = [label.key for label in model.labels]
        if keys != expected:
            pairs = enumerate(zip(keys, expected))
            first = next((n for n, (key, other) in pairs if key != other), min(len(keys), len(expected)))
            raise ValueError(
                f"{path}: expected the {len(expected)} classes of {directory}/{LABELS_FILE} in their order, found "
                f"{len(keys)}, which differ from number {first} on; evaluate on the data that it was trained for"
            )
    kinds = {model.target_is_multilabel for model in models.values()}
    if len(kinds) > 1:
        raise ValueError(
            "expected checkpoints of one task, found some for one class per clip and some for several; evaluate them "
            "separately"
        )
    return kinds.pop()


def hop_samples(model: AudioModel, hop_sec: Optional[float], path: str) -> int:
    """Samples from one window to the next.

    Raises:
        ValueError: more than a window, or less than a sample.
    """
    if hop_sec is None:
        return model.window_samples
    hop = clip_samples(hop_sec, model.sample_rate)
    if not 1 <= hop <= model.window_samples:
        raise ValueError(
            f"expected --hop-sec from one sample up to the {model.clip_sec} s of {path}, found {hop_sec}; samples "
            "between two windows would not be scored"
        )
    return hop


@torch.inference_mode()
def predict(
    model: AudioModel,
    manifest: Manifest,
    hop: int,
    batch_size: int,
    workers: int,
    title: str = "",
    precision: str = "float32",
) -> np.ndarray:
    """The logits of every clip, as `AudioModel.forward` computes them, float32 (N, C).

    Args:
        model: with a head.
        manifest: the clips.
        hop: samples from one window to the next.
        batch_size: how many windows are encoded together.
        workers: processes that load audio; 0 to load in this one.
        title: of the progress bar on stderr.
        precision: see `autocast`.

    Raises:
        AudioError: a clip cannot be read.
    """
    clips = load_in_order(WindowedClips(manifest, model, hop), workers)
    total = torch.zeros(len(manifest), model.embed_dim, dtype=torch.float64)
    counts = torch.zeros(len(manifest), 1)
    with tqdm(total=len(manifest), unit="clip", desc=title, file=sys.stderr) as bar:
        for owners, batch in batches(clips, batch_size):
            with autocast(model.device, precision):
                embeddings = model.embed_windows(batch.to(model.device), max_windows=None)  # (B, D)
            total.index_add_(0, owners, embeddings.double().cpu())
            counts.index_add_(0, owners, torch.ones(len(owners), 1))
            bar.update(int(owners[-1]) + 1 - bar.n)
    mean = (total / counts).float().to(model.device)  # (N, D)
    return model.network.head(mean).float().cpu().numpy()


def write_evaluation(evaluation: Evaluation, directory: PathLike) -> None:
    """Write `scores.json`, `predictions.csv` and a picture, `confusion.png` or `classes.png`, together.

    Of events also `events.tsv`, those that were found, and `reference.tsv`, the truth, both as DESED has them.

    Args:
        directory: created if missing.

    Raises:
        OSError: a file cannot be written.
    """
    names = [label.name for label in evaluation.vocabulary]
    score = evaluation.summary["class_score"]
    title = picture_title(evaluation.summary)

    def draw_classes(path: Path) -> None:
        draw_class_scores(evaluation.class_scores, names, score, title, str(path))

    def draw_matrix(path: Path) -> None:
        target, _ = evaluation.targets.stacked()
        draw_confusion(target.argmax(axis=1), evaluation.logits.argmax(axis=1), names, title, str(path))

    one_class = score == "recall" and len(names) <= MAX_CONFUSION_CLASSES
    files: dict[str, Callable[[Path], None]] = {
        "predictions.csv": lambda path: write_predictions(path, evaluation),
        **({"confusion.png": draw_matrix} if one_class else {"classes.png": draw_classes}),
        "scores.json": lambda path: write_scores(path, evaluation.summary),
    }
    if evaluation.events is not None:
        paths, both = list(evaluation.manifest.paths), evaluation.events
        for name, clips, with_scores in (("events.tsv", both.found, True), ("reference.tsv", both.truth, False)):
            rows = [(path, event) for path, events in zip(paths, clips) for event in events]
            files[name] = partial(write_events_table, rows=rows, scores=with_scores)
    write_together(directory, files, stale={"events.tsv", "reference.tsv"} - set(files))


def picture_title(summary: dict[str, Any]) -> str:
    """What was scored, by which model, and the score."""
    name, value = next(iter(summary["scores"].items()))
    first, *others = summary["checkpoints"]
    models = f"{first} and {len(others)} more" if others else first
    subset = os.path.join(summary["data"], summary["subset"])
    return f"{subset}: {name} {value:.3f} on {summary['clips']} clips, by {models}"


def write_scores(path: PathLike, summary: dict[str, Any]) -> None:
    """Write `scores.json`, in which a score that is not finite (d' of a perfect AUC, for example) is null."""
    scores = {name: value if math.isfinite(value) else None for name, value in summary["scores"].items()}
    with open(path, "w", encoding="utf-8") as stream:
        json.dump({**summary, "scores": scores}, stream, indent=1, ensure_ascii=False, allow_nan=False)
        stream.write("\n")


def write_predictions(path: PathLike, evaluation: Evaluation) -> None:
    """Write `predictions.csv`: per clip its path, its classes, the class of the highest logit, and all logits."""
    keys = [label.key for label in evaluation.vocabulary]
    rows = zip(evaluation.manifest.paths, evaluation.targets.present(), evaluation.logits)
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["path", "labels", "predicted", *keys])
        for name, present, logits in rows:
            labels = " ".join(keys[index] for index in present)
            writer.writerow([name, labels, keys[int(logits.argmax())], *(f"{value:.4f}" for value in logits)])
