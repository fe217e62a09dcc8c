"""Measure, write and read the statistics that the front end normalises by: `mel_stats.json`.

Every subset is measured for itself, so that those that are trained on can be put together: of four folds out of five,
say, without a look at the fifth.
"""

import json
import os
from typing import Any, Dict, Iterable, List, Sequence, Tuple

import numpy as np
import torch

from maskspec_fairseq.data.audio import AudioError, load_clip
from maskspec_fairseq.manifest import MEL_STATS_FILE, ManifestError
from maskspec_fairseq.modules.log_mel import LogMel


def measure_mel_statistics(
    front_end: LogMel, files: Iterable[str], clip_sec: float, channel: str
) -> Tuple[Dict[str, Any], List[str]]:
    """Mean and standard deviation of every bin over the beginnings of some files, padding left out.

    Returns:
        A subset's entry in `mel_stats.json` (`clips` and `frames` measured, `mean` and `std` of F values each), and a
        message for every file that could not be read.

    Raises:
        AudioError: none of the files could be read.
    """
    front_end = front_end.eval()
    total, squares = np.zeros(front_end.n_mels), np.zeros(front_end.n_mels)
    frames, clips, left_out = 0, 0, []
    for file in files:
        try:
            waveform, num_samples = load_clip(file, front_end.sample_rate, clip_sec=clip_sec, channel=channel)
        except AudioError as error:
            left_out.append(str(error))
            continue
        with torch.no_grad():
            log_mel = front_end.log_mel(torch.from_numpy(waveform)[None])[0].double().numpy()  # (F, S)
        log_mel = log_mel[:, : 1 + num_samples // front_end.hop_length]
        total += log_mel.sum(axis=1)
        squares += np.square(log_mel).sum(axis=1)
        frames += log_mel.shape[1]
        clips += 1
    if not clips:
        raise AudioError(f"expected clips to measure, found none that can be read; the last one: {left_out[-1:]}")
    mean = total / frames
    std = np.sqrt(np.maximum(squares / frames - mean**2, 0))
    entry = {
        "clips": clips,
        "frames": frames,
        "mean": [round(float(value), 6) for value in mean],
        "std": [round(float(value), 6) for value in std],
    }
    return entry, left_out


def sample_of_clips(num_clips: int, most: int, seed: int) -> List[int]:
    """At most `most` indices of a manifest, drawn by the seed, ascending."""
    if num_clips <= most:
        return list(range(num_clips))
    return sorted(np.random.default_rng(seed).choice(num_clips, size=most, replace=False).tolist())


def write_mel_statistics(
    path: str, settings: Dict[str, Any], subsets: Dict[str, Dict[str, Any]], keep: Dict[str, Any]
) -> None:
    """Write the file with some subsets of one profile set anew.

    Args:
        settings: what they were measured with: `front_end` (see `LogMel.settings`), `channel` and `clip_sec`.
        keep: what the file held before; subsets that were measured with other settings are dropped.
    """
    profile = settings["front_end"]["profile"]
    former = keep.get(profile, {})
    same = all(former.get(name) == value for name, value in settings.items())
    entry = {**settings, "subsets": {**(former["subsets"] if same else {}), **subsets}}
    with open(path, "w", encoding="utf-8") as stream:
        json.dump({**keep, profile: entry}, stream, indent=1)
        stream.write("\n")


def read_all_mel_statistics(directory: str) -> Dict[str, Any]:
    """Every entry of a data directory's `mel_stats.json`, or none where there is no such file.

    Raises:
        ManifestError: the file is no JSON.
    """
    path = os.path.join(directory, MEL_STATS_FILE)
    if not os.path.isfile(path):
        return {}
    with open(path, encoding="utf-8") as stream:
        try:
            return json.load(stream)
        except ValueError as error:
            raise ManifestError(f"{path}: expected JSON, found: {error}") from error


def read_mel_statistics(directory: str, front_end: LogMel, subsets: Sequence[str]) -> Tuple[List[float], List[float]]:
    """Mean and deviation of every bin over some subsets, measured with the same front end.

    Raises:
        ManifestError: no file, no entry of the profile or of a subset, or one that was measured with other settings.
    """
    path = os.path.join(directory, MEL_STATS_FILE)
    entries = read_all_mel_statistics(directory)
    cure = f"run `python manifests/build.py stats {directory} --subset {','.join(subsets)}"
    cure += f" --profile {front_end.profile} --sample-rate {front_end.sample_rate}`"
    if front_end.profile not in entries:
        found = f"profiles {sorted(entries)}" if entries else "no such file"
        raise ManifestError(
            f"{path}: expected log-mel statistics of the profile {front_end.profile!r}, found {found}; {cure}"
        )
    entry = entries[front_end.profile]
    differing = [
        f"{name}: expected {value}, found {entry['front_end'].get(name)}"
        for name, value in front_end.settings().items()
        if entry["front_end"].get(name) != value
    ]
    if differing:
        listed = ", ".join(differing)
        raise ManifestError(f"{path}: the statistics were measured with another front end ({listed}); {cure}")
    missing = [name for name in subsets if name not in entry["subsets"]]
    if missing:
        raise ManifestError(
            f"{path}: expected log-mel statistics of {', '.join(missing)}, found those of "
            f"{', '.join(entry['subsets'])}; {cure}"
        )
    return pool([entry["subsets"][name] for name in subsets])


def pool(parts: Sequence[Dict[str, Any]]) -> Tuple[List[float], List[float]]:
    """Mean and deviation of the frames of several subsets together."""
    frames = np.array([part["frames"] for part in parts])[:, None]
    means, stds = (np.array([part[name] for part in parts]) for name in ("mean", "std"))
    mean = (frames * means).sum(axis=0) / frames.sum()
    variance = (frames * (stds**2 + (means - mean) ** 2)).sum(axis=0) / frames.sum()
    return mean.tolist(), np.sqrt(variance).tolist()
