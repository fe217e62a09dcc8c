"""maskspec-average: average the weights of several checkpoints into one checkpoint."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Optional

from maskspec_fairseq.argument_types import int_at_least, output_name
from maskspec_fairseq.checkpoints.average import BEST, EPOCH, UPDATE, average_checkpoints, choose_checkpoints
from maskspec_fairseq.checkpoints.write import write_checkpoint
from maskspec_fairseq.cli.arguments import make_parser
from maskspec_fairseq.cli.program import run_program

EXAMPLE = "maskspec-average --inputs runs/esc50/fold1/checkpoints --num-epoch-checkpoints 5 --output average.pt"


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-average", __doc__, EXAMPLE)
    parser.add_argument(
        "--inputs",
        nargs="+",
        required=True,
        help="checkpoints; or, with an option --num-..., a run's directory of them",
    )
    parser.add_argument("--output", type=output_name, required=True, metavar="FILE", help="the checkpoint to write")
    number = parser.add_mutually_exclusive_group()
    number.add_argument("--num-epoch-checkpoints", type=int_at_least(1), metavar="N", help=f"the last N {EPOCH.like}")
    number.add_argument("--num-update-checkpoints", type=int_at_least(1), metavar="N", help=f"the last N {UPDATE.like}")
    number.add_argument("--num-best-checkpoints", type=int_at_least(1), metavar="N", help=f"the best N {BEST.like}")
    parser.add_argument(
        "--checkpoint-upper-bound",
        type=int_at_least(0),
        metavar="N",
        help="ignore those of an epoch, or update, after N",
    )
    return parser


def run(args: argparse.Namespace) -> None:
    kinds = {EPOCH: args.num_epoch_checkpoints, UPDATE: args.num_update_checkpoints, BEST: args.num_best_checkpoints}
    kind = next((kind for kind, number in kinds.items() if number), None)
    if args.checkpoint_upper_bound is not None and kind not in (EPOCH, UPDATE):
        raise ValueError("--checkpoint-upper-bound needs --num-epoch-checkpoints or --num-update-checkpoints")
    if kind is None and any(map(os.path.isdir, args.inputs)):
        raise ValueError(
            "expected files as --inputs, found a directory; choose from it, for example with --num-epoch-checkpoints 5"
        )
    if not os.path.isdir(os.path.dirname(os.path.abspath(args.output))):
        raise ValueError(f"{args.output}: expected the directory of --output to exist, found none; create it")
    paths = args.inputs
    if kind is not None:
        paths = choose_checkpoints(args.inputs, kinds[kind], kind, args.checkpoint_upper_bound)
    write_checkpoint(average_checkpoints(paths), args.output)
    print(f"the mean of {len(paths)} checkpoints:", *paths, sep="\n  ")
    print(f"written to {args.output}")


def main(argv: Optional[Sequence[str]] = None) -> int:
    return run_program(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
