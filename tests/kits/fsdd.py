"""Tasks for the kits out of the Free Spoken Digit Dataset, which digit is spoken: the same recordings for each kit."""

import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 32000  # Hz, of the files for HEAR
# The numbers of the recordings of each digit and speaker: 0 to 4 are the official test part.
TAKES = {"train": range(7, 15), "valid": range(5, 7), "test": range(5)}
DIGITS = range(10)
SCENE_SEC = 1.0  # HEAR wants clips of one length; five of the recordings used here are longer and are cut
MIXTURES = {"train": 160, "valid": 30, "test": 40}
MIXTURE_SEC = 4.0


def recordings(fsdd: Path, split: str) -> list[tuple[Path, int]]:
    """Files of a split and their digits."""
    files = sorted((fsdd / "recordings").glob("*.wav"))
    parts = [path.stem.split("_") for path in files]
    return [(path, int(digit)) for path, (digit, _, take) in zip(files, parts) if int(take) in TAKES[split]]


def write_xares_task(fsdd: Path, out: Path) -> None:
    """`fsdd_task.py` for xares, and in `env/fsdd` a tar of wav and JSON per split."""
    folder = out / "env" / "fsdd"
    folder.mkdir(parents=True)
    for split in TAKES:
        with tarfile.open(folder / f"{split}-000.tar", "w") as tar:
            for path, digit in recordings(fsdd, split):
                for name, data in (
                    (path.name, path.read_bytes()),
                    (f"{path.stem}.json", json.dumps({"label": digit}).encode()),
                ):
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    (folder / ".audio_tar_ready").touch()
    (out / "fsdd_task.py").write_text(
        "from xares.task import TaskConfig\n\n\n"
        "def fsdd_config(encoder):\n"
        "    return TaskConfig(\n"
        '        name="fsdd", encoder=encoder, private=True, output_dim=10, eval_weight=300,\n'
        '        label_processor=lambda label: label["label"], torch_num_threads=1,\n'
        "        batch_size_encode=1, epochs=50,\n"  # no padding; ten epochs of so few clips are few updates
        "    )\n"
    )


def write_hear_scene_task(fsdd: Path, tasks: Path) -> Path:
    """A scene task for heareval, one digit per clip of `SCENE_SEC`."""
    folder = tasks / "fsdd-scene"
    for split in TAKES:
        labels = {}
        for path, digit in recordings(fsdd, split):
            _write_wav(folder / str(RATE) / split / path.name, _fit(_read(path), SCENE_SEC))
            labels[path.name] = [str(digit)]
        _write_json(folder / f"{split}.json", labels)
    _write_metadata(folder, "scene", "multiclass", SCENE_SEC, ["top1_acc"])
    return folder


def write_hear_event_task(fsdd: Path, tasks: Path) -> Path:
    """An event task for heareval: two to four digits in clips of `MIXTURE_SEC`, with their times, in faint noise."""
    folder = tasks / "fsdd-event"
    for number, split in enumerate(TAKES):
        files = recordings(fsdd, split)
        events = {}
        for index in range(MIXTURES[split]):
            name = f"{split}{index:03d}.wav"
            rng = np.random.default_rng([number, index])
            waveform, events[name] = _mixture(rng, files)
            _write_wav(folder / str(RATE) / split / name, waveform)
        _write_json(folder / f"{split}.json", events)
    _write_metadata(folder, "event", "multilabel", MIXTURE_SEC, ["event_onset_200ms_fms", "segment_1s_er"])
    return folder


def write_s3prl_lists(fsdd: Path, out: Path) -> None:
    """What s3prl's problems of classification write themselves out of their own corpora: a list per split."""
    out.mkdir(parents=True)
    for split in TAKES:
        with open(out / f"{split}.csv", "w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["id", "wav_path", "label", "start_sec", "end_sec"])
            writer.writerows(
                [path.stem, path.resolve(), f"d{digit}", "", ""] for path, digit in recordings(fsdd, split)
            )


def _mixture(rng: np.random.Generator, files: list[tuple[Path, int]]) -> tuple[np.ndarray, list[dict]]:
    """Digits one after another with random pauses, and their labels and times, ms."""
    length = round(MIXTURE_SEC * RATE)
    mixed = 0.001 * rng.standard_normal(length).astype(np.float32)
    chosen = [files[index] for index in rng.choice(len(files), rng.integers(2, 5), replace=False)]
    waveforms = [_fit(_read(path), 0.9 * MIXTURE_SEC / len(chosen), pad=False) for path, _ in chosen]
    pauses = rng.dirichlet(np.ones(len(chosen) + 1)) * (length - sum(map(len, waveforms)))
    events, first = [], 0
    for (_, digit), waveform, pause in zip(chosen, waveforms, pauses):
        first += int(pause)
        mixed[first : first + len(waveform)] += waveform
        last = first + len(waveform)
        events.append({"label": str(digit), "start": 1000 * first / RATE, "end": 1000 * last / RATE})
        first = last
    return mixed, events


def _read(path: Path) -> np.ndarray:
    waveform, rate = soundfile.read(path, dtype="float32")
    return soxr.resample(waveform, rate, RATE)


def _fit(waveform: np.ndarray, seconds: float, pad: bool = True) -> np.ndarray:
    """Cut, or if asked pad, to a length."""
    length = round(seconds * RATE)
    return np.pad(waveform[:length], (0, max(0, length - len(waveform)) if pad else 0))


def _write_wav(path: Path, waveform: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(waveform, -1, 1), RATE)


def _write_json(path: Path, content) -> None:
    path.write_text(json.dumps(content, indent=1))


def _write_metadata(folder: Path, embedding: str, prediction: str, seconds: float, scores: list[str]) -> None:
    _write_json(
        folder / "task_metadata.json",
        {
            "task_name": folder.name,
            "version": "v1",
            "embedding_type": embedding,
            "prediction_type": prediction,
            "split_mode": "trainvaltest",
            "splits": list(TAKES),
            "sample_duration": seconds,
            "evaluation": scores,
        },
    )
    rows = "".join(f"{index},{digit}\n" for index, digit in enumerate(DIGITS))
    (folder / "labelvocabulary.csv").write_text("idx,label\n" + rows)
