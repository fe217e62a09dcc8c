"""Run the benchmarks and write their rows to benchmarks/RESULTS.md: `python -m benchmarks`, or `make bench`.

With names of benchmarks, only those are run, and their rows are printed without writing the file. The machine should do
nothing else meanwhile.
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

import torch

from benchmarks.timing import Row, matmul_gflops, table

HERE = Path(__file__).parent
# each module has `rows()`
NAMES = [
    "pretraining_step",
    "patch_sizes",
    "finetuning_step",
    "front_end",
    "loader",
    "packs",
    "manifest",
    "startup",
    "inference",
    "scaling",
]
PLOTS = """
Why targets were missed, and what was tried: [NOTES.md](NOTES.md). How the cost of a pretraining step grows, next to its
arithmetic:

![scaling](scaling.png)
"""
PACKAGES = ["torch", "timm", "torchaudio", "soundfile", "soxr"]


def processor() -> str:
    """The name of the processor if the system tells it, else of its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def commit() -> str:
    """The commit that runs, and whether files differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", HERE, *arguments], capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (", with changes" if changed else "")


def surroundings(ran: str, seconds: float) -> str:
    """A paragraph on the machine and the versions that the figures were measured with."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"`make bench`, commit {ran}, {seconds / 60:.0f} minutes. {processor()}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads of torch, no GPU used; Python {platform.python_version()}, {versions}. "
        f"A float32 matrix product of 1024 x 1024 runs at {matmul_gflops():.0f} Gflop/s here."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}")
    args = parser.parse_args()
    if not set(args.names) <= set(NAMES):
        parser.error(f"expected names from {', '.join(NAMES)}, found {', '.join(args.names)}")
    start, ran = time.time(), commit()  # before the plot is drawn again
    rows: list[Row] = []
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
