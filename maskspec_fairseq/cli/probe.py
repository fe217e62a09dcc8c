"""maskspec-probe: score frozen embeddings by a linear classifier and by nearest neighbours, in seconds."""

import argparse
import statistics
import sys
from collections.abc import Sequence
from typing import Any, Optional

from maskspec_fairseq.atomic_write import write_json
from maskspec_fairseq.cli.arguments import add_device, add_readout, make_parser
from maskspec_fairseq.cli.program import run_program
from maskspec_fairseq.inference.load import load_model
from maskspec_fairseq.inference.probing import probe

EXAMPLE = """maskspec-probe --checkpoint runs/esc10_tiny/checkpoints/checkpoint_last.pt --data data/esc10 --baselines
maskspec-probe --checkpoint CHECKPOINT --data data/speech_commands_v2 --train train --test validation
maskspec-probe --checkpoint CHECKPOINT --data data/esc10 --pool frequency+max --layers 6"""


def table(result: dict[str, Any]) -> str:
    """The scores as text: a line per kind of features and of probe, with the mean over the folds."""
    lines = []
    for title, kinds in result["features"].items():
        for kind, scores in kinds.items():
            values = list(scores.values())
            line = f"{title:<20} {kind:<7} {result['score']} {statistics.mean(values):.4f}"
            if len(values) > 1:
                line += f" +- {statistics.stdev(values):.4f}"
            lines.append(line + "   " + "  ".join(f"{name} {value:.4f}" for name, value in scores.items()))
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-probe", __doc__, EXAMPLE)
    parser.add_argument(
        "--checkpoint", required=True, help="of any run, even one that is still training, or an exported folder"
    )
    parser.add_argument("--data", required=True, metavar="DATA_DIR", help="with labels")
    parser.add_argument("--train", nargs="+", metavar="SUBSET", help="to fit to (default: all folds but one, in turn)")
    parser.add_argument("--test", metavar="SUBSET", help="to score (default: the fold left out)")
    parser.add_argument(
        "--baselines", action="store_true", help="also probe an encoder of random weights and statistics of the log-mel"
    )
    add_readout(parser)
    add_device(parser)
    parser.add_argument("--out", metavar="FILE", help="JSON with every score (default: none)")
    return parser


def run(args: argparse.Namespace) -> None:
    model = load_model(args.checkpoint, args.pool, args.layers).to(args.device)
    result = {"checkpoint": args.checkpoint, "data": args.data}
    result.update(probe(model, args.data, args.train, args.test, args.baselines))
    if args.out:
        write_json(args.out, result)
    print(table(result))


def main(argv: Optional[Sequence[str]] = None) -> int:
    return run_program(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
