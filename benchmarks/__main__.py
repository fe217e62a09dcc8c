"""Run the benchmarks and write their rows to benchmarks/RESULTS.md: `python -m benchmarks`, or `make bench`.

With names of benchmarks, only those are run, and their rows are printed without writing the file. The machine should do
nothing else meanwhile.

`--device cuda` prints the rows of the benchmarks of a GPU (`gpu/`), which `make gpu` writes to results/gpu.md;
`--device cpu` runs the same ones at small sizes, which shows that they run, and nothing else.
"""

import argparse
import importlib
import logging
import sys
import time
from pathlib import Path

import torch

from benchmarks.gpu.measure import NAMES as GPU_NAMES
from benchmarks.gpu.measure import measure
from benchmarks.machine import commit, surroundings
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
    "growth",
    "startup",
    "inference",
    "many_files",
    "waiting",
    "scaling",
]
PLOTS = """
Why targets were missed, and what was tried: [NOTES.md](NOTES.md). How the cost of a pretraining step grows, next to its
arithmetic:

![scaling](scaling.png)
"""
PACKAGES = ["torch", "timm", "torchaudio", "soundfile", "soxr"]


def how_measured(ran: str, seconds: float) -> str:
    """A paragraph on the machine and the versions that the figures were measured with."""
    return (
        f"`make bench`, commit {ran}, {seconds / 60:.0f} minutes. {surroundings(PACKAGES)}; "
        f"{torch.get_num_threads()} threads of torch, no GPU used. "
        f"A float32 matrix product of 1024 x 1024 runs at {matmul_gflops():.0f} Gflop/s here."
    )


def print_gpu_rows(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    if not set(args.names) <= set(GPU_NAMES):
        parser.error(f"expected names from {', '.join(GPU_NAMES)}, found {', '.join(args.names)}")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("expected a GPU that torch can use, found none; --device cpu shows that the benchmarks run")
    measured = measure(args.names or GPU_NAMES, args.device)
    print(measured.text())
    return 2 if measured.failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--device", choices=["cuda", "cpu"], help=f"benchmarks of a GPU: {', '.join(GPU_NAMES)}")
    args = parser.parse_args()
    if args.device:
        return print_gpu_rows(parser, args)
    if not set(args.names) <= set(NAMES):
        parser.error(f"expected names from {', '.join(NAMES)}, found {', '.join(args.names)}")
    logging.getLogger().setLevel(logging.WARNING)  # fairseq sets it to DEBUG
    start, ran = time.time(), commit()  # before the plot is drawn again
    rows: list[Row] = []
    for name in args.names or NAMES:
        begun = time.time()
        found = importlib.import_module(f"benchmarks.{name}").rows()
        print(table(found), flush=True)
        print(f"{name}: {time.time() - begun:.0f} s", file=sys.stderr, flush=True)
        rows += found
    if not args.names:
        text = f"# Results of the benchmarks\n\n{how_measured(ran, time.time() - start)}\n\n{table(rows)}\n{PLOTS}"
        (HERE / "RESULTS.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
