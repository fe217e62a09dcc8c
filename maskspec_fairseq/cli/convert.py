"""maskspec-convert: make a checkpoint from third-party weights, of MaskSpec, AudioMAE or an image transformer."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any, Optional

from maskspec_fairseq.argument_types import output_name
from maskspec_fairseq.checkpoints.write import write_checkpoint
from maskspec_fairseq.cli.arguments import make_parser
from maskspec_fairseq.cli.program import run_program
from maskspec_fairseq.conversion.checkpoint import convert
from maskspec_fairseq.conversion.layout import LAYOUTS
from maskspec_fairseq.conversion.overrides import finetuning_overrides
from maskspec_fairseq.conversion.statistics import read_statistics
from maskspec_fairseq.conversion.weights import read_weights
from maskspec_fairseq.data_dir.labels import read_vocabulary
from maskspec_fairseq.hydra_override import format_override

EXAMPLE = "maskspec-convert checkpoint-60.pth --statistics mean_std_128.npy --out maskspec.pt"


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-convert", __doc__, EXAMPLE)
    parser.add_argument("input", metavar="FILE", help="weights: a file of torch.save, or .safetensors")
    parser.add_argument("--out", type=output_name, required=True, metavar="OUT.pt", help="the checkpoint to write")
    parser.add_argument(
        "--statistics", metavar="FILE.npy", help="mean_std_128.npy of MaskSpec's code, for MaskSpec's files only"
    )
    parser.add_argument(
        "--labels", metavar="FILE.csv", help="index,mid,display_name of the head's classes, to tag with it"
    )
    parser.add_argument(
        "--layout", choices=LAYOUTS, help="what the file is (default: found from its weights, refused if uncertain)"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    if not os.path.isdir(os.path.dirname(os.path.abspath(args.out))):
        raise ValueError(f"{args.out}: expected the directory of --out to exist, found none; create it")
    if os.path.realpath(args.out) == os.path.realpath(args.input):
        raise ValueError(f"{args.out}: expected another file than the input as --out, found the same")
    statistics = read_statistics(args.statistics) if args.statistics else None
    labels = read_vocabulary(args.labels) if args.labels else ()
    weights, options = read_weights(args.input)
    try:
        layout, checkpoint = convert(weights, options, statistics, labels, args.layout)
    except ValueError as error:
        raise ValueError(f"{args.input}: {error}") from error
    write_checkpoint(checkpoint, args.out)
    report(layout, checkpoint["cfg"], args.out)


def report(layout: str, cfg: dict[str, Any], path: str) -> None:
    """Print what the file was, and how to finetune from the checkpoint."""
    model = cfg["model"]
    grid = model["position_grid"]
    positions = f"learned positions of {grid[0]} x {grid[1]} patches" if grid else "sinusoidal positions"
    print(
        f"{layout}: {model['encoder_layers']} blocks of width {model['encoder_embed_dim']}, {positions}, "
        f"front end {model['front_end']!r}"
    )
    if model.get("num_classes"):
        per_clip = "several" if cfg["task"]["target_is_multilabel"] else "one"
        unnamed = "" if model["label_keys"] else "; they have no names: convert it with --labels to tag with it"
        print(f"{model['num_classes']} classes, {per_clip} per clip{unnamed}")
    overrides = [format_override("model.pretrained", path), *finetuning_overrides(cfg)]
    print(f"written to {path}; to finetune it:", *map(shlex.quote, overrides))


def main(argv: Optional[Sequence[str]] = None) -> int:
    return run_program(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
