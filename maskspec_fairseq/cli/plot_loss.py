"""maskspec-plot-loss: draw the curves in a run's hydra_train.log: its losses, and accuracy or mAP in finetuning."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Optional

from maskspec_fairseq.argument_types import output_name
from maskspec_fairseq.cli.arguments import make_parser
from maskspec_fairseq.cli.program import run_program
from maskspec_fairseq.plots import draw_curves
from maskspec_fairseq.training_log import read_curves

EXAMPLE = "maskspec-plot-loss runs/esc10_tiny/hydra_train.log --out loss.png"


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-plot-loss", __doc__, EXAMPLE)
    parser.add_argument("log", help="hydra_train.log in the run's directory")
    parser.add_argument(
        "--out", type=output_name, default="loss.png", metavar="FILE", help="the picture (default: %(default)s)"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    curves = read_curves(args.log)
    picture = args.out if os.path.splitext(args.out)[1] else f"{args.out}.png"
    draw_curves(curves, os.path.dirname(os.path.abspath(args.log)), picture)
    last = {" ".join(key): curve[-1] for key, curve in curves.items()}
    print(f"{picture}: " + ", ".join(f"{name} {value:.4f} at epoch {at:g}" for name, (at, value) in last.items()))


def main(argv: Optional[Sequence[str]] = None) -> int:
    return run_program(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
