"""What can only be checked on a GPU, in under eight minutes: `make gpu`, or `python -m benchmarks.gpu`.

Runs tests/gpu, then the benchmarks of a GPU, and writes results/gpu.md with the card and the versions. The parts alone:
`python -m pytest tests/gpu -m gpu`, and `python -m benchmarks --device cuda [NAME...]`. Nothing is fetched from a
network. What fails is written down, and the rest runs; the exit code is 2 then.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.gpu.measure import NAMES, measure
from benchmarks.gpu.run_tests import run_tests
from benchmarks.machine import card, commit, surroundings

OUT = Path(__file__).resolve().parents[2] / "results" / "gpu.md"
PACKAGES = ["torch", "torchaudio", "fairseq", "ve-fairseq", "timm", "onnxruntime-gpu", "triton"]
MAX_SEC = 450  # of everything; the tests have at most TESTS_SEC of it
TESTS_SEC = 240


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--device", choices=["cuda", "cpu"], default="cuda", help="cpu shows that everything runs (default: cuda)"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="the file that is written (default: results/gpu.md)")
    return parser


def main(argv: Sequence[str] = ()) -> int:
    args = build_parser().parse_args(argv)
    if args.device == "cuda" and not torch.cuda.is_available():
        print("expected a GPU that torch can use, found none; run this on a machine with CUDA", file=sys.stderr)
        return 2
    start, ran = time.time(), commit()
    print("tests ...", file=sys.stderr, flush=True)
    tests = run_tests(args.device, TESTS_SEC)
    measured = measure(NAMES, args.device, MAX_SEC - (time.time() - start))
    text = (
        f"# Results on a GPU\n\n`make gpu`, commit {ran}, {(time.time() - start) / 60:.1f} minutes. {card()}; "
        f"{surroundings(PACKAGES)}.\n\n## Tests\n\n{tests.text()}\n\n## Benchmarks\n\n{measured.text()}\n"
    )
    args.out.write_text(text, encoding="utf-8")
    print(text)
    return 2 if tests.failed or measured.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
