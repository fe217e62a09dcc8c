"""Read and write `<subset>.events`, when the labels of each clip begin and end. Format: docs/manifests.md.

Shapes: N events of a clip.
"""

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from maskspec_fairseq.atomic_write import PathLike
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import LABELS_FILE, Label, PackedLabels, problem_of_key
from maskspec_fairseq.data_dir.lines import SHOWN, read_lines
from maskspec_fairseq.data_dir.manifest import Manifest
from maskspec_fairseq.data_dir.packed import PackedRows

DESED_COLUMNS = ["filename", "onset", "offset", "event_label"]  # of DESED's tables, times in s
FRAMES = "(0|[1-9][0-9]{0,17})"  # fits an int64, and every number has one spelling
EVENT = re.compile(f"{FRAMES}:{FRAMES}:(.+)")


class Event(NamedTuple):
    """A sound in a clip.

    Attributes:
        start, end: frames at the file's own rate, counted from the beginning of the clip; it ends before `end`.
        key: of its class.
    """

    start: int
    end: int
    key: str


class PackedEvents(Sequence[np.ndarray]):
    """The events of each clip, int64 (N, 3) with start and end in frames and the class index."""

    def __init__(self) -> None:
        self._rows = PackedRows(typecode="q")

    def append(self, events: Sequence[tuple[int, int, int]]) -> None:
        """Add the events of a clip: start, end and class index of each."""
        self._rows.append([number for event in events for number in event])

    def extend(self, other: "PackedEvents") -> None:
        self._rows.extend(other._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]  # no slices: nothing needs them
        return self._rows[index].reshape(-1, 3)

    @property
    def total(self) -> int:
        """The number of events of all clips."""
        return int(self._rows.lengths.sum()) // 3


def write_events(path: PathLike, clips: Sequence[Sequence[Event]]) -> None:
    """Write `<subset>.events`.

    Raises:
        ManifestError: an event could not be read back.
    """
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        for number, events in enumerate(clips, start=1):
            for event in events:
                problem = problem_of_key(event.key)
                if problem or not 0 <= event.start < event.end:
                    raise ManifestError(
                        f"{path}, line {number}: expected a start, a later end and a key, found {tuple(event)}"
                        + (f", whose key {problem}" if problem else "")
                    )
            stream.write(",".join(":".join(map(str, event)) for event in events) + "\n")


def read_events(path: PathLike, vocabulary: Sequence[Label], manifest: Manifest, labels: PackedLabels) -> PackedEvents:
    """Read `<subset>.events`, which has one line per clip of the manifest.

    Args:
        labels: of the clips, which have the classes of their events.

    Raises:
        ManifestError: the number of lines is not that of the clips; or an event is not `start:end:key`, ends before it
            starts or beyond its clip, or has a class that is not in the vocabulary or not in the labels of its clip.
    """
    num_lines = sum(1 for _ in read_lines(path))
    if num_lines != len(manifest):
        raise ManifestError(
            f"{path}, line {min(num_lines, len(manifest)) + 1}: expected one line for each of the {len(manifest)} "
            f"clips, found {num_lines}; build again"
        )
    numbers = {label.key: number for number, label in enumerate(vocabulary)}
    packed = PackedEvents()
    for index, line in enumerate(read_lines(path)):
        where, frames = f"{path}, line {index + 1}", int(manifest.frames[index])
        present = set(labels.present[index].tolist())
        events = []
        for text in line.split(",") if line else []:
            match = EVENT.fullmatch(text)
            if match is None:
                raise ManifestError(f"{where}: expected start:end:key in frames, found {text[:SHOWN]!r}; build again")
            start, end, key = int(match[1]), int(match[2]), match[3]
            if not start < end <= frames:
                raise ManifestError(
                    f"{where}: expected a start and a later end within the {frames} frames of the clip, found "
                    f"{start} and {end}; correct the event, or build again"
                )
            if key not in numbers:
                raise ManifestError(f"{where}: expected a key of {LABELS_FILE}, found {key!r}; correct the event")
            if numbers[key] not in present:
                raise ManifestError(
                    f"{where}: expected events of classes that the clip has in the .lbl, found {key!r}; add it there"
                )
            events.append((start, end, numbers[key]))
        packed.append(events)
    return packed


def join_events(parts: Sequence[PackedEvents]) -> PackedEvents:
    """The events of several subsets as one sequence, in order."""
    joined = PackedEvents()
    for part in parts:
        joined.extend(part)
    return joined


def events_path(directory: str, subset: str) -> str:
    """Where the events of a subset are, if it has any."""
    return os.path.join(directory, f"{subset}.events")


def read_subset_events(
    directory: str, subset: str, vocabulary: Sequence[Label], manifest: Manifest, labels: PackedLabels
) -> PackedEvents:
    """Read the events of a subset that a model with a head of frames is trained on.

    Raises:
        ManifestError: there is no such file, it holds no event, or see `read_events`.
    """
    path = events_path(directory, subset)
    if not os.path.isfile(path):
        raise ManifestError(
            f"expected the events of {subset} in {path} for model.head=frames, found no such file; build the data with "
            "`maskspec-build segments --events`, or leave model.head=linear"
        )
    events = read_events(path, vocabulary, manifest, labels)
    if not events.total:
        raise ManifestError(
            f"{path}: expected events, found none in any clip; label the subset or choose another, or leave "
            "model.head=linear"
        )
    return events
