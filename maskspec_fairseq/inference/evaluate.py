"""Score finetuned models on a labelled subset.

Shapes: N clips, T samples, K windows of W samples, B windows of a batch, D width, C classes.
"""

import csv
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from maskspec_fairseq.atomic_write import PathLike, write_together
from maskspec_fairseq.audio.read import clip_samples, load_clip, load_crop
from maskspec_fairseq.data.clip_targets import ClipTargets
from maskspec_fairseq.data.frame_targets import times_known
from maskspec_fairseq.data_dir.events import PackedEvents, events_path, read_events
from maskspec_fairseq.data_dir.labels import LABELS_FILE, Label, read_subset_labels, read_vocabulary
from maskspec_fairseq.data_dir.manifest import Manifest, num_rejected, read_manifest
from maskspec_fairseq.event_metrics import TimedEvent, event_scores
from maskspec_fairseq.inference.audio_model import AudioModel, cut_windows
from maskspec_fairseq.inference.events import Detection, Frames, find_events, write_events_table
from maskspec_fairseq.inference.load import load_labelled_model
from maskspec_fairseq.metrics import summarise
from maskspec_fairseq.plots import draw_class_scores, draw_confusion

MAX_CONFUSION_CLASSES = 60  # more of them cannot be read in a picture


@dataclass
class EventEvaluation:
    """The events of each clip, those of the truth and those that were found."""

    truth: list[list[TimedEvent]]
    found: list[list[TimedEvent]]


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
            clips = predict_frames(model, manifest, batch_size, workers, title)
            total += np.stack([logits.max(axis=0) for logits, _ in clips])
            if events is not None and events.total:
                of_events = compare_events(model, clips, events, targets, detection or Detection())
        else:
            total += predict(model, manifest, hops[path], batch_size, workers, title)
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


def check_frames(models: dict[str, AudioModel], hop_sec: Optional[float], detection: Optional[Detection]) -> bool:
    """Whether the one model that is to be scored has a head of frames.

    Args:
        models: by the path that each was loaded from.
        hop_sec, detection: as in `evaluate`.

    Raises:
        ValueError: it is not the only one, or the hop or the detection is not for it.
    """
    in_frames = [path for path, model in models.items() if model.network.head_of_frames]
    if in_frames and len(models) > 1:
        raise ValueError(
            f"expected a model with a head of frames alone, found {in_frames[0]} among {len(models)} checkpoints; "
            "evaluate them separately"
        )
    if in_frames and hop_sec is not None:
        raise ValueError(
            f"expected no --hop-sec for {in_frames[0]}, whose windows follow each other so that each frame is scored "
            f"once, found {hop_sec:g}; leave it out"
        )
    if detection and not in_frames:
        raise ValueError(
            "expected --threshold and --median-sec with a model of model.head=frames, found one of clips; leave "
            "them out"
        )
    return bool(in_frames)


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


class WindowedClips(Dataset):
    """The clips of a manifest, each with all of its samples, as float32 windows (K, W).

    Args:
        manifest: the clips.
        model: says rate, channel and W; it does not travel to the processes that load.
        hop: samples from one window to the next.
    """

    def __init__(self, manifest: Manifest, model: AudioModel, hop: int) -> None:
        self.manifest = manifest
        self.sample_rate, self.channel, self.size = model.sample_rate, model.channel, model.window_samples
        self.hop = hop

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, index: int) -> Tensor:
        waveform, _ = load_clip(self.manifest.full_path(index), self.sample_rate, channel=self.channel)
        return cut_windows(torch.from_numpy(waveform)[None], self.size, self.hop)[0]


class FramedClips(WindowedClips):
    """The clips of a manifest as the windows that `AudioModel.frame_logits` cuts: (K, W), samples and file's rate.

    Args:
        manifest: the clips.
        model: with a head of frames.
    """

    def __init__(self, manifest: Manifest, model: AudioModel) -> None:
        self.scored = model.scored_windows
        super().__init__(manifest, model, self.scored.hop)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:  # type: ignore[override]
        crop = load_crop(self.manifest.full_path(index), self.sample_rate, channel=self.channel)
        return self.scored.cut(torch.from_numpy(crop.waveform)[None])[0], len(crop.waveform), crop.rate


@contextmanager
def hold_interrupts() -> Iterator[None]:
    """Let Ctrl-C, which reaches every process of a terminal, wait while a loader starts its processes.

    They inherit this, and so leave Ctrl-C to the main process, which ends them; one that is starting them would not.
    """
    if threading.current_thread() is not threading.main_thread():  # others get no Ctrl-C
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt


@torch.inference_mode()
def predict(
    model: AudioModel, manifest: Manifest, hop: int, batch_size: int, workers: int, title: str = ""
) -> np.ndarray:
    """The logits of every clip, as `AudioModel.forward` computes them, float32 (N, C).

    Args:
        model: with a head.
        manifest: the clips.
        hop: samples from one window to the next.
        batch_size: how many windows are encoded together.
        workers: processes that load audio; 0 to load in this one.
        title: of the progress bar on stderr.

    Raises:
        AudioError: a clip cannot be read.
    """
    with hold_interrupts():
        clips = iter(DataLoader(WindowedClips(manifest, model, hop), batch_size=None, num_workers=workers))
    total = torch.zeros(len(manifest), model.embed_dim, dtype=torch.float64)
    counts = torch.zeros(len(manifest), 1)
    with tqdm(total=len(manifest), unit="clip", desc=title, file=sys.stderr) as bar:
        for owners, batch in batches(clips, batch_size):
            embeddings = model.embed_windows(batch.to(model.device), max_windows=None)  # (B, D)
            total.index_add_(0, owners, embeddings.double().cpu())
            counts.index_add_(0, owners, torch.ones(len(owners), 1))
            bar.update(int(owners[-1]) + 1 - bar.n)
    mean = (total / counts).float().to(model.device)  # (N, D)
    return model.network.head(mean).float().cpu().numpy()


class ClipTiming(NamedTuple):
    """How many samples a clip has at the model's rate, and the rate of its file, Hz."""

    num_samples: int
    rate: int


@torch.inference_mode()
def predict_frames(
    model: AudioModel, manifest: Manifest, batch_size: int, workers: int, title: str = ""
) -> list[tuple[np.ndarray, ClipTiming]]:
    """The logits of the frames of every clip, float32 (S, C) each, as `AudioModel.frame_logits` computes them.

    Args:
        model: with a head of frames.
        manifest, batch_size, workers, title: as in `predict`.

    Raises:
        AudioError: a clip cannot be read.
    """
    timings: list[ClipTiming] = []

    def windows_of(clips: Iterable[tuple[Tensor, int, int]]) -> Iterator[Tensor]:
        for windows, num_samples, rate in clips:
            timings.append(ClipTiming(num_samples, rate))
            yield windows

    with hold_interrupts():
        clips = iter(DataLoader(FramedClips(manifest, model), batch_size=None, num_workers=workers))
    parts: list[list[np.ndarray]] = [[] for _ in range(len(manifest))]
    with tqdm(total=len(manifest), unit="clip", desc=title, file=sys.stderr) as bar:
        for owners, batch in batches(windows_of(clips), batch_size):
            logits = model.network.head(model.embed_frames(batch.to(model.device), passes=1)).float().cpu().numpy()
            for owner, of_window in zip(owners.tolist(), logits):  # (M, C)
                parts[owner].append(of_window)
            bar.update(int(owners[-1]) + 1 - bar.n)
    found = []
    for windows, timing in zip(parts, timings):
        columns = torch.from_numpy(np.stack(windows))[None]  # (1, K, M, C)
        found.append((model.scored_windows.join(columns, timing.num_samples)[0].numpy(), timing))
    return found


def compare_events(
    model: AudioModel,
    clips: Sequence[tuple[np.ndarray, ClipTiming]],
    events: PackedEvents,
    targets: ClipTargets,
    detection: Detection,
) -> EventEvaluation:
    """The events of the truth and those that are found, with the names of classes.

    A class whose times in a clip are unknown is left out there: what is found of it is neither right nor wrong.

    Args:
        model: with a head of frames.
        clips: of `predict_frames`.
        events: the truth.
        targets: what is known of each clip as a whole.
        detection: see there.
    """
    names = [label.name for label in model.labels]
    step_sec = model.column_samples / model.sample_rate
    truth, found = [], []
    for index, ((logits, timing), rows) in enumerate(zip(clips, events)):
        _, times = model.frame_times(timing.num_samples, passes=1)
        scores = model.scores(torch.from_numpy(logits)).numpy()
        frames = Frames(scores, times.numpy(), step_sec, timing.num_samples / model.sample_rate)
        known = {names[number] for number in np.flatnonzero(times_known(events, targets, index))}
        found.append([event for event in find_events(frames, names, detection) if event.label in known])
        truth.append(
            [TimedEvent(start / timing.rate, end / timing.rate, names[number]) for start, end, number in rows.tolist()]
        )
    return EventEvaluation(truth, found)


def batches(clips: Iterable[Tensor], batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Collect the windows of consecutive clips, (K, W) each: the numbers of their clips, (B,), and the windows, (B, W).

    All batches but the last have batch_size windows.
    """
    owners: list[int] = []
    parts: list[Tensor] = []
    for number, windows in enumerate(clips):
        for window in windows:
            owners.append(number)
            parts.append(window)
            if len(parts) == batch_size:
                yield torch.tensor(owners), torch.stack(parts)
                owners, parts = [], []
    if parts:
        yield torch.tensor(owners), torch.stack(parts)


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
