"""Measure, write and read the statistics that the front end normalises by: `mel_stats.json`, an entry a profile."""

import json
import os
from typing import Any, Dict, Iterable, List, Tuple

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
        An entry of `mel_stats.json` (the front end's settings, how much was measured, `mean` and `std` of F values
        each), and a message for every file that could not be read.

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
        "front_end": front_end.settings(),
        "channel": channel,
        "clip_sec": clip_sec,
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


def write_mel_statistics(path: str, statistics: Dict[str, Any], keep: Dict[str, Any]) -> None:
    """Write the file with one profile's entry set anew and the others kept."""
    entries = dict(keep)
    entries[statistics["front_end"]["profile"]] = statistics
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(entries, stream, indent=1)
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


def read_mel_statistics(directory: str, front_end: LogMel) -> Tuple[List[float], List[float]]:
    """Mean and deviation of every bin, measured with the same front end.

    Raises:
        ManifestError: no file, no entry of the profile, or one that was measured with other settings.
    """
    path = os.path.join(directory, MEL_STATS_FILE)
    entries = read_all_mel_statistics(directory)
    cure = f"run `python manifests/build.py stats {directory} --profile {front_end.profile}"
    cure += f" --sample-rate {front_end.sample_rate}`"
    if front_end.profile not in entries:
        found = f"profiles {sorted(entries)}" if entries else "no such file"
        raise ManifestError(
            f"{path}: expected log-mel statistics of the profile {front_end.profile!r}, found {found}; {cure}"
        )
    entry = entries[front_end.profile]
    expected = front_end.settings()
    differing = {
        name: (value, entry["front_end"].get(name))
        for name, value in expected.items()
        if entry["front_end"].get(name) != value
    }
    if differing:
        listed = ", ".join(f"{name}: expected {ours}, found {theirs}" for name, (ours, theirs) in differing.items())
        raise ManifestError(f"{path}: the statistics were measured with another front end ({listed}); {cure}")
    return entry["mean"], entry["std"]
