"""maskspec-average: a checkpoint whose weights are the mean of those of several checkpoints."""

import argparse
import os
import sys
from typing import Optional

from maskspec_fairseq.argument_types import int_at_least
from maskspec_fairseq.checkpoints.average import BEST, EPOCH, UPDATE, average_checkpoints, choose_checkpoints
from maskspec_fairseq.checkpoints.write import write_checkpoint
from maskspec_fairseq.cli.arguments import make_parser

EXAMPLE = "maskspec-average --inputs runs/esc50/fold1/checkpoints --num-epoch-checkpoints 5 --output average.pt"


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-average", __doc__, EXAMPLE)
    parser.add_argument(
        "--inputs", nargs="+", required=True, help="checkpoints, or, with an option --num-..., the directory of a run's"
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="the checkpoint to write")
    number = parser.add_mutually_exclusive_group()
    number.add_argument("--num-epoch-checkpoints", type=int_at_least(1), metavar="N", help=f"the last N {EPOCH.like}")
    number.add_argument("--num-update-checkpoints", type=int_at_least(1), metavar="N", help=f"the last N {UPDATE.like}")
    number.add_argument("--num-best-checkpoints", type=int_at_least(1), metavar="N", help=f"the best N {BEST.like}")
    parser.add_argument(
        "--checkpoint-upper-bound", type=int_at_least(0), metavar="N", help="none of a later epoch, or update, than N"
    )
    return parser


def main(argv: Optional[list] = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    asked = [
        (args.num_epoch_checkpoints, EPOCH), (args.num_update_checkpoints, UPDATE), (args.num_best_checkpoints, BEST)
    ]  # fmt: skip
    number, kind = next((choice for choice in asked if choice[0]), (None, None))
    if args.checkpoint_upper_bound is not None and kind not in (EPOCH, UPDATE):
        parser.error("--checkpoint-upper-bound needs --num-epoch-checkpoints or --num-update-checkpoints")
    if kind is None and any(map(os.path.isdir, args.inputs)):
        parser.error("--inputs is a directory: choose from it with --num-epoch-checkpoints, say")
    try:
        if not os.path.isdir(os.path.dirname(os.path.abspath(args.output))):
            raise ValueError(f"{args.output}: expected the directory of --output to be there, found none")
        paths = (
            args.inputs if kind is None else choose_checkpoints(args.inputs, number, kind, args.checkpoint_upper_bound)
        )
        print(f"the mean of {len(paths)} checkpoints:", *paths, sep="\n  ", flush=True)
        write_checkpoint(average_checkpoints(paths), args.output)
    except (OSError, ValueError) as error:
        print(f"maskspec-average: {error}", file=sys.stderr)
        return 1
    print(f"written to {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
