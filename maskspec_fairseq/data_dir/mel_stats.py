"""Read and write `mel_stats.json`, the statistics that the front end normalises by. Format: docs/manifests.md.

Shapes: F mel bins, N subsets.
"""

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from maskspec_fairseq.atomic_write import PathLike
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.fields import check_fields, int_between, list_of, number, read_json

MEL_STATS_FILE = "mel_stats.json"
LARGEST = 1e6  # of a logarithm, far beyond those of any sound
FRONT_END = {"n_mels": int_between(1, 4096)}  # what the others are compared with is in `LogMel.settings`


def write_mel_statistics(
    path: PathLike, settings: dict[str, Any], subsets: dict[str, dict[str, Any]], keep: dict[str, Any]
) -> None:
    """Write the file with new statistics for some subsets and one front end.

    Args:
        settings: what they were measured with: `front_end` (see `LogMel.settings`), `channel` and `clip_sec`.
        subsets: name -> `clips`, `frames`, `mean` and `std`.
        keep: the former content of the file. Other subsets of the same front end are kept if they were measured with
            the same settings.
    """
    name = settings["front_end"]["profile"]
    former = keep.get(name, {})
    same = all(former.get(field) == value for field, value in settings.items())
    entry = {**settings, "subsets": {**(former["subsets"] if same else {}), **subsets}}
    with open(path, "w", encoding="utf-8") as stream:
        json.dump({**keep, name: entry}, stream, indent=1)
        stream.write("\n")


def read_all_mel_statistics(directory: PathLike) -> dict[str, Any]:
    """All entries of a data directory's `mel_stats.json`, keyed by front end; none if there is no such file.

    Raises:
        ManifestError: the file is not JSON, or a field is missing or cannot be what it should.
    """
    path = os.path.join(directory, MEL_STATS_FILE)
    if not os.path.isfile(path):
        return {}
    try:
        entries = read_json(path)
        check_fields(entries, {}, path)
        for front_end, entry in entries.items():
            where = f"{path}: {front_end}"
            check_fields(entry, {}, where, required=("front_end", "subsets"))
            check_fields(entry["front_end"], FRONT_END, f"{where}: front_end", required=tuple(FRONT_END))
            check_fields(entry["subsets"], {}, f"{where}: subsets")
            n_mels = entry["front_end"]["n_mels"]
            for subset, statistics in entry["subsets"].items():
                fields = {
                    "frames": int_between(1, 2**53),
                    "mean": list_of(number(-LARGEST, LARGEST), n_mels),
                    "std": list_of(number(0, LARGEST), n_mels),
                }
                check_fields(statistics, fields, f"{where}: subsets: {subset}", required=tuple(fields))
    except ValueError as error:
        raise ManifestError(str(error)) from error
    return entries


def read_mel_statistics(
    directory: PathLike, settings: dict[str, Any], subsets: Sequence[str]
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of every mel bin, pooled over subsets: two lists of F values.

    Args:
        settings: of the front end, see `LogMel.settings`.

    Raises:
        ManifestError: there is no file or no entry of the front end or of a subset, or the entry was measured with
            other settings of the front end.
    """
    path, name = os.path.join(directory, MEL_STATS_FILE), settings["profile"]
    entries = read_all_mel_statistics(directory)
    cure = f"run `maskspec-build stats {directory} --subset {','.join(subsets)}"
    cure += f" --front-end {name} --sample-rate {settings['sample_rate']}`"
    if name not in entries:
        found = f"those of {', '.join(sorted(entries))}" if entries else "no such file"
        raise ManifestError(f"{path}: expected log-mel statistics of the front end {name!r}, found {found}; {cure}")
    entry = entries[name]
    differing = [
        f"{field}: expected {value}, found {entry['front_end'].get(field)}"
        for field, value in settings.items()
        if entry["front_end"].get(field) != value
    ]
    if differing:
        listed = ", ".join(differing)
        raise ManifestError(f"{path}: the statistics were measured with another front end ({listed}); {cure}")
    missing = [subset for subset in subsets if subset not in entry["subsets"]]
    if missing:
        raise ManifestError(
            f"{path}: expected log-mel statistics of {', '.join(missing)}, found those of "
            f"{', '.join(entry['subsets'])}; {cure}"
        )
    return pool_statistics([entry["subsets"][subset] for subset in subsets])


def pool_statistics(parts: Sequence[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation over the frames of several subsets, of each mel bin: two lists of F values.

    Args:
        parts: of each subset `frames`, `mean` and `std`.
    """
    frames = np.array([part["frames"] for part in parts])[:, None]  # (N, 1)
    means, stds = (np.array([part[name] for part in parts]) for name in ("mean", "std"))  # (N, F)
    mean = (frames * means).sum(axis=0) / frames.sum()  # (F,)
    variance = (frames * (stds**2 + (means - mean) ** 2)).sum(axis=0) / frames.sum()  # (F,)
    return mean.tolist(), np.sqrt(variance).tolist()
