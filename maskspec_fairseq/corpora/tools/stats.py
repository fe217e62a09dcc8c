"""Measure mean and standard deviation of every log-mel bin over clips of training subsets, into mel_stats.json."""

import argparse
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from maskspec_fairseq.argument_types import int_at_least, seconds
from maskspec_fairseq.atomic_write import write_whole
from maskspec_fairseq.audio.read import CHANNELS
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.manifest import read_manifest
from maskspec_fairseq.data_dir.mel_stats import MEL_STATS_FILE, read_all_mel_statistics, write_mel_statistics
from maskspec_fairseq.modules.front_ends import FRONT_ENDS

MAX_LEFT_OUT = 0.05  # fraction of the chosen clips


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data_dir", type=Path, metavar="DATA_DIR")
    parser.add_argument(
        "--subset",
        default="train",
        help="training subset, or several with commas, each measured (default: train)",
    )
    parser.add_argument(
        "--clips", type=int_at_least(1), default=1000, help="clips to measure per subset, at most (default: 1000)"
    )
    parser.add_argument(
        "--front-end",
        "--profile",  # until version 0.1
        default="paper",
        choices=sorted(FRONT_ENDS),
        help="model.front_end (default: paper)",
    )
    parser.add_argument("--sample-rate", type=int_at_least(1), default=32000, help="task.sample_rate (default: 32000)")
    parser.add_argument(
        "--clip-sec", type=seconds, default=10.0, help="seconds to read of a clip, at most (default: 10)"
    )
    parser.add_argument("--channel", default="mix", choices=CHANNELS, help="task.channel (default: mix)")
    parser.add_argument("--seed", type=int_at_least(0), default=1, help="draws the clips (default: 1)")


def run(args: argparse.Namespace) -> int:
    """See `measure`."""
    settings = {name: value for name, value in vars(args).items() if name not in ("command", "data_dir")}
    return measure(args.data_dir, **settings)


def measure(
    data_dir: Path,
    subset: str = "train",
    clips: int = 1000,
    front_end: str = "paper",
    sample_rate: int = 32000,
    clip_sec: float = 10.0,
    channel: str = "mix",
    seed: int = 1,
) -> int:
    """Measure the statistics of some subsets and add them to mel_stats.json.

    Args:
        data_dir: the data directory.
        subset: one name, or several with commas.
        clips: number of clips per subset, at most.
        front_end: name of the front end.
        sample_rate: Hz.
        clip_sec: how much of each clip is read, s, at most.
        channel: see `audio.read.mix_down`.
        seed: draws the clips.

    Returns:
        The exit code: 0, or 2 if more than 5 % of the clips of a subset could not be read.

    Raises:
        ManifestError: a manifest cannot be read, or the sample rate is too low for the front end.
        AudioError: no clip could be read.
    """
    # the other subcommands work without torch, and start faster
    from maskspec_fairseq.data.measure_mel import measure_mel_statistics, sample_of_clips
    from maskspec_fairseq.modules.log_mel import LogMel

    try:
        log_mel = LogMel(front_end, sample_rate)
    except ValueError as error:  # the rate is too low for the filters
        raise ManifestError(str(error)) from error
    entries: dict[str, dict[str, Any]] = {}
    enough = True
    for name in subset.split(","):
        manifest = read_manifest(data_dir / f"{name}.tsv")
        chosen = [manifest.full_path(index) for index in sample_of_clips(len(manifest), clips, seed)]
        bar = tqdm(chosen, unit="clip", desc=f"mel statistics of {name}", file=sys.stderr)
        entries[name], left_out = measure_mel_statistics(log_mel, bar, clip_sec, channel)
        for message in left_out:
            print(f"maskspec-build: left out of the statistics: {message}", file=sys.stderr)
        enough = enough and len(left_out) <= MAX_LEFT_OUT * len(chosen)
        print(
            f"{data_dir / MEL_STATS_FILE}: front end {front_end}, {entries[name]['clips']} clips of {name}, "
            f"{len(left_out)} left out"
        )
    settings = {"front_end": log_mel.settings(), "channel": channel, "clip_sec": clip_sec}
    keep = read_all_mel_statistics(data_dir)
    write_whole(data_dir / MEL_STATS_FILE, lambda path: write_mel_statistics(path, settings, entries, keep))
    return 0 if enough else 2
