"""maskspec-probe: score frozen embeddings by a linear classifier and by nearest neighbours, in seconds."""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from maskspec_fairseq.argument_types import output_name
from maskspec_fairseq.atomic_write import check_writable_file, write_json, write_whole
from maskspec_fairseq.cli.arguments import add_device, add_readout, make_parser
from maskspec_fairseq.cli.program import run_program
from maskspec_fairseq.inference.load import load_model
from maskspec_fairseq.inference.probing import probe
from maskspec_fairseq.inference.sweep import sweep
from maskspec_fairseq.plots import draw_sweep

EXAMPLE = """maskspec-probe --checkpoint runs/esc10_tiny/checkpoints/checkpoint_last.pt --data data/esc10 --baselines
maskspec-probe --checkpoint CHECKPOINT --data data/speech_commands_v2 --train train --test validation
maskspec-probe --checkpoint CHECKPOINT --data data/esc10 --pool frequency+max --layers 6
maskspec-probe --checkpoint CHECKPOINT --data data/esc10 --sweep --baselines --plot layers.png --out sweep.json"""


TITLES = {"linear": "linear", "knn": "ten nearest neighbours"}


def table(result: dict[str, Any]) -> str:
    """The scores as text: a line per kind of features and of probe, with the mean over the folds."""
    return "\n".join(
        f"{title:<20} {kind:<7} {result['score']} {mean_of(scores)}   "
        + "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
        for title, kinds in result["features"].items()
        for kind, scores in kinds.items()
    )


def mean_of(scores: dict[str, float]) -> str:
    """Mean and, of several subsets, the deviation."""
    values = list(scores.values())
    return f"{statistics.mean(values):.4f}" + (f" +- {statistics.stdev(values):.4f}" if len(values) > 1 else "")


def sweep_table(result: dict[str, Any]) -> str:
    """The scores of a sweep as text: a table of layers by poolings per kind of features and of probe."""
    lines = []
    for title in result["features"]:
        readouts = [readout for readout in result["readouts"] if readout["features"] == title]
        pools = list(dict.fromkeys(readout["pool"] for readout in readouts))
        for kind, name in TITLES.items():
            means = {(row["layer"], row["pool"]): statistics.mean(row["scores"][kind].values()) for row in readouts}
            best = {pool: max(means[key] for key in means if key[1] == pool) for pool in pools}
            cells = {
                (row["layer"], row["pool"]): mean_of(row["scores"][kind])
                + ("*" if row["layer"] and means[row["layer"], row["pool"]] == best[row["pool"]] else " ")
                for row in readouts
            }
            width = max(map(len, [*cells.values(), *pools])) + 2
            lines += [f"{title}, {name}: {result['score']}", "layer " + "".join(f"{pool:<{width}}" for pool in pools)]
            for layer in dict.fromkeys(row["layer"] for row in readouts):
                row = "".join(f"{cells[layer, pool]:<{width}}" for pool in pools)
                lines.append(f"{layer or '-':>5} {row}".rstrip())
            lines.append("")
    lines += [
        "* the best layer of its pooling by the scores above, on the clips that are tested: an optimistic figure.",
        "Layer and pooling chosen inside the training part, without the clips that are tested:",
        table(result),
    ]
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
    parser.add_argument(
        "--sweep",
        action="store_true",
        help="probe each layer by each pooling, in one run that encodes each clip once",
    )
    add_readout(parser, several_pools=True)
    add_device(parser)
    parser.add_argument("--out", type=output_name, metavar="FILE", help="JSON with every score (default: none)")
    parser.add_argument(
        "--plot",
        type=output_name,
        metavar="FILE",
        help="with --sweep: PNG of the score over the layers (default: none)",
    )
    return parser


def run(args: argparse.Namespace) -> None:
    pools = args.pool or []
    if not args.sweep and len(pools) > 1:
        raise ValueError(f"expected one --pool without --sweep, found {', '.join(pools)}; add --sweep, or choose one")
    if args.plot and not args.sweep:
        raise ValueError("expected --plot with --sweep, found --plot alone; add --sweep, or leave --plot out")
    if args.plot and not args.plot.lower().endswith(".png"):
        raise ValueError(f"expected --plot as the name of a PNG, found {args.plot}; call it {args.plot}.png")
    for option, path in (("--out", args.out), ("--plot", args.plot)):
        if path:
            check_writable_file(Path(path), option)
    result = {"checkpoint": args.checkpoint, "data": args.data}
    if args.sweep:
        model = load_model(args.checkpoint).to(args.device)
        result.update(sweep(model, args.data, pools, args.layers, args.train, args.test, args.baselines))
    else:
        model = load_model(args.checkpoint, pools[0] if pools else None, args.layers).to(args.device)
        result.update(probe(model, args.data, args.train, args.test, args.baselines))
    print(sweep_table(result) if args.sweep else table(result))
    if args.out:
        write_json(args.out, result)
    if args.plot:
        write_whole(args.plot, lambda scratch: draw_sweep(result, str(scratch)))


def main(argv: Optional[Sequence[str]] = None) -> int:
    return run_program(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
