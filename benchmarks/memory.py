"""Memory of a pretraining step (`steps.py`), in its own process: `python -m benchmarks.memory WAY SIZE`.

Prints by how many bytes the peak resident memory grows from before the model is built until after two steps. The figure
is VmHWM of Linux; `ru_maxrss` would begin with the peak of the parent process.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.steps import CLIPS, MASK_RATIO, SECONDS, WAYS, make_step
from maskspec_fairseq.modules.sizes import SIZES

ROOT = Path(__file__).resolve().parents[1]


def peak() -> int:
    """Peak resident memory of this process, bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def measure(*arguments: object) -> int:
    """Bytes of a step, measured by a fresh process with these arguments."""
    command: list[str] = [sys.executable, "-m", "benchmarks.memory", *map(str, arguments)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout.split()[-1])


def main() -> None:
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
