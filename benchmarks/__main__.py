"""Run the benchmarks and write their rows to benchmarks/RESULTS.md: `python -m benchmarks`, or `make bench`.

Names of benchmarks run those alone, and print their rows without writing the file. Leave the machine alone meanwhile.
"""

import argparse
import importlib
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import List

import torch

from benchmarks.compare import Row, matmul_gflops, table

HERE = Path(__file__).parent
# each has `rows()`, and its plots beside it
NAMES = [
    "pretraining_step",
    "finetuning_step",
    "front_end",
    "loader",
    "packs",
    "manifest",
    "metrics",
    "startup",
    "inference",
    "scaling",
]
PLOTS = """
Why targets were missed, and what was tried: [NOTES.md](NOTES.md). How the cost of a pretraining step grows, beside its
arithmetic:

![scaling](scaling.png)
"""
PACKAGES = ["torch", "timm", "torchaudio", "librosa", "scikit-learn", "soundfile", "soxr"]


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def commit() -> str:
    """The commit that runs, with a word where files differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", HERE, *arguments], capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (", with changes" if changed else "")


def surroundings(ran: str, seconds: float) -> str:
    """What the figures were measured on and by."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"`make bench`, commit {ran}, {seconds / 60:.0f} minutes. {processor()}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads of torch, no GPU used; Python {platform.python_version()}, {versions}. "
        f"A float32 matrix product of 1024 x 1024 runs at {matmul_gflops():.0f} Gflop/s here."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"out of {', '.join(NAMES)}")
    args = parser.parse_args()
    if not set(args.names) <= set(NAMES):
        parser.error(f"expected names out of {', '.join(NAMES)}, found {', '.join(args.names)}")
    start, ran = time.time(), commit()  # before the plots are drawn anew
    rows: List[Row] = []
    for name in args.names or NAMES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found = importlib.import_module(f"benchmarks.{name}").rows()
        print(table(found), flush=True)
        rows += found
    if not args.names:
        text = f"# Results of the benchmarks\n\n{surroundings(ran, time.time() - start)}\n\n{table(rows)}\n{PLOTS}"
        (HERE / "RESULTS.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
