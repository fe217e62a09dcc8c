"""maskspec-evaluate: score finetuned models on a subset, one of them or several by the mean of their logits."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Optional

from maskspec_fairseq.argument_types import int_at_least, output_path, seconds
from maskspec_fairseq.atomic_write import check_writable
from maskspec_fairseq.cli.arguments import (
    add_detection,
    add_device,
    add_precision,
    add_workers,
    detection_of,
    make_parser,
)
from maskspec_fairseq.cli.program import run_program
from maskspec_fairseq.data_dir.lines import escaped
from maskspec_fairseq.inference.evaluate import evaluate, write_evaluation

EXAMPLE = """maskspec-evaluate --checkpoint runs/fsdd/checkpoints/checkpoint_last.pt --data data/fsdd --subset test
maskspec-evaluate --checkpoint exported/ --data data/esc50 --subset fold1 --out scores"""


def table(summary: dict[str, Any]) -> str:
    """The scores, and the three worst and best classes, or all of them if there are no more, as text."""
    scored = sorted((value, escaped(key)) for key, value in summary["classes"].items() if value is not None)
    parts = [scored] if len(scored) <= 6 else [scored[:3], scored[-3:]]
    classes = " ... ".join(", ".join(f"{key} {value:.3f}" for value, key in part) for part in parts)
    lines = [f"{name:<20} {value:8.4f}" for name, value in summary["scores"].items()]
    lines.append(f"{summary['class_score']} of classes: {classes}")
    skipped = len(summary["classes"]) - len(scored)
    if skipped:
        lines.append(f"{skipped} of {len(summary['classes'])} classes have no clip here and are left out of the means")
    lines.append(f"{summary['subset']}: scored {summary['clips']} of {summary['clips_listed']} clips")
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-evaluate", __doc__, EXAMPLE)
    parser.add_argument(
        "--checkpoint", nargs="+", required=True, help="of finetuning runs, or folders of maskspec-export"
    )
    parser.add_argument("--data", required=True, metavar="DATA_DIR", help="a data directory of maskspec-build")
    parser.add_argument("--subset", required=True, help="a manifest of DATA_DIR, such as eval")
    parser.add_argument(
        "--hop-sec", type=seconds, metavar="S", help="s from one window to the next (default: the model's length)"
    )
    parser.add_argument(
        "--batch-size",
        type=int_at_least(1),
        default=32,
        metavar="N",
        help="windows, of any clips, that are encoded together (default: %(default)s)",
    )
    add_workers(parser)
    add_precision(parser)
    add_detection(parser)
    add_device(parser)
    parser.add_argument(
        "--out", type=output_path, metavar="DIR", help="for scores.json, predictions.csv and a picture (default: none)"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    if args.out:
        check_writable(args.out)
    evaluation = evaluate(
        args.checkpoint,
        args.data,
        args.subset,
        args.hop_sec,
        args.batch_size,
        args.workers,
        args.device,
        detection_of(args),
        args.precision,
    )
    print(table(evaluation.summary))
    if args.out:
        write_evaluation(evaluation, args.out)


def main(argv: Optional[Sequence[str]] = None) -> int:
    return run_program(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
