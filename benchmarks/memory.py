"""Memory of a step of `pretraining_step`, in a process of its own: `python -m benchmarks.memory WAY SIZE`.

Prints the bytes by which the most that two steps held resident is more than what was held before the model was built.
The figure is Linux's own of the process, VmHWM: `ru_maxrss` would begin with what the parent had when it started us.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import List

ROOT = Path(__file__).resolve().parents[1]


def peak() -> int:
    """The most bytes that this process ever held resident."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def measure(*arguments: object) -> int:
    """Bytes of a step, found by a fresh process of these arguments."""
    command: List[str] = [sys.executable, "-m", "benchmarks.memory", *map(str, arguments)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout.split()[-1])


def main() -> None:
    from benchmarks.pretraining_step import CLIPS, MASK_RATIO, SECONDS, SIZES, WAYS, make_step

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("clips", type=int, nargs="?", default=CLIPS)
    parser.add_argument("seconds", type=int, nargs="?", default=SECONDS)
    parser.add_argument("mask_ratio", type=float, nargs="?", default=MASK_RATIO)
    args = parser.parse_args()
    before = peak()
    step = make_step(args.way, args.size, args.clips, args.seconds, args.mask_ratio)
    step()
    step()
    print(peak() - before)


if __name__ == "__main__":
    main()
