"""Score the frames of a model with a head of frames, and the events that they make.

Shapes: S frames of a clip, K windows of W samples, M columns per window, B windows of a batch, C classes.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Optional

import numpy as np
import torch
from tqdm import tqdm

from maskspec_fairseq.audio.read import load_crop
from maskspec_fairseq.data.clip_targets import ClipTargets
from maskspec_fairseq.data.frame_targets import times_known
from maskspec_fairseq.data_dir.events import PackedEvents
from maskspec_fairseq.data_dir.manifest import Manifest
from maskspec_fairseq.event_metrics import TimedEvent
from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.inference.events import Detection, Frames, find_events
from maskspec_fairseq.inference.precision import autocast
from maskspec_fairseq.inference.windowed_clips import WindowedClips, batches, load_in_order


@dataclass
class EventEvaluation:
    """The events of each clip, those of the truth and those that were found."""

    truth: list[list[TimedEvent]]
    found: list[list[TimedEvent]]


class ClipTiming(NamedTuple):
    """How many samples a clip has at the model's rate, and the rate of its file, Hz."""

    num_samples: int
    rate: int


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


class FramedClips(WindowedClips):
    """The clips of a manifest as the windows that `AudioModel.frame_logits` cuts: (K, W), samples and file's rate.

    Args:
        manifest: the clips.
        model: with a head of frames.
    """

    def __init__(self, manifest: Manifest, model: AudioModel) -> None:
        self.scored = model.scored_windows
        super().__init__(manifest, model, self.scored.hop)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int, int]:  # type: ignore[override]
        crop = load_crop(self.manifest.full_path(index), self.sample_rate, channel=self.channel)
        windows = self.scored.cut(torch.from_numpy(crop.waveform)[None])[0]
        return windows.numpy(), len(crop.waveform), crop.rate


@torch.inference_mode()
def predict_frames(
    model: AudioModel,
    manifest: Manifest,
    batch_size: int,
    workers: int,
    title: str = "",
    precision: str = "float32",
) -> list[tuple[np.ndarray, ClipTiming]]:
    """The logits of the frames of every clip, float32 (S, C) each, as `AudioModel.frame_logits` computes them.

    Args:
        model: with a head of frames.
        manifest, batch_size, workers, title, precision: as in `evaluate.predict`.

    Raises:
        AudioError: a clip cannot be read.
    """
    timings: list[ClipTiming] = []

    def windows_of(clips: Iterable[tuple[np.ndarray, int, int]]) -> Iterator[np.ndarray]:
        for windows, num_samples, rate in clips:
            timings.append(ClipTiming(num_samples, rate))
            yield windows

    clips = load_in_order(FramedClips(manifest, model), workers)
    parts: list[list[np.ndarray]] = [[] for _ in range(len(manifest))]
    with tqdm(total=len(manifest), unit="clip", desc=title, file=sys.stderr) as bar:
        for owners, batch in batches(windows_of(clips), batch_size):
            with autocast(model.device, precision):
                of_windows = model.network.head(model.embed_frames(batch.to(model.device), passes=1))  # (B, M, C)
            logits = of_windows.float().cpu().numpy()
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
