"""maskspec-convert: a checkpoint from the weights of others: MaskSpec's released files, AudioMAE's, images'."""

import argparse
import os
import shlex
import sys
from typing import Any, Dict, List, Optional

from maskspec_fairseq.checkpoints.read import ENCODER_FIELDS
from maskspec_fairseq.checkpoints.write import write_checkpoint
from maskspec_fairseq.cli.arguments import make_parser
from maskspec_fairseq.conversion.checkpoint import convert
from maskspec_fairseq.conversion.statistics import read_statistics
from maskspec_fairseq.conversion.weights import read_weights
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import read_vocabulary

EXAMPLE = "maskspec-convert checkpoint-60.pth --statistics mean_std_128.npy --out maskspec.pt"
# What base.yaml of the finetuning recipes has.
RECIPE = {
    "front_end": "paper", "sample_rate": 32000, "patch_size": 16, "encoder_embed_dim": 768, "encoder_layers": 12,
    "encoder_attention_heads": 12, "encoder_ffn_embed_dim": 3072, "cls_token": False, "position_grid": [],
    "norm_after_pool": False, "clip_sec": 10.0,
}  # fmt: skip
OF_THE_TASK = ("sample_rate", "clip_sec")


def finetuning_overrides(cfg: Dict[str, Any]) -> List[str]:
    """What the command of a finetuning recipe needs to start from a checkpoint with this config."""
    values = {**cfg["model"], **cfg["task"]}
    overrides = []
    for name in (*ENCODER_FIELDS, "norm_after_pool", "clip_sec"):
        value = values.get(name, RECIPE[name])
        if value != RECIPE[name]:
            text = str(value).lower() if isinstance(value, bool) else str(value).replace(" ", "")
            overrides.append(f"{'task' if name in OF_THE_TASK else 'model'}.{name}={text}")
    return overrides


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-convert", __doc__, EXAMPLE)
    parser.add_argument("input", metavar="FILE", help="weights: a file of torch.save, or .safetensors")
    parser.add_argument("--out", required=True, metavar="OUT.pt", help="the checkpoint to write")
    parser.add_argument(
        "--statistics", metavar="FILE.npy", help="mean_std_128.npy of MaskSpec's code, for MaskSpec's files alone"
    )
    parser.add_argument(
        "--labels", metavar="FILE.csv", help="index,mid,display_name of the head's classes, to tag with it"
    )
    return parser


def main(argv: Optional[list] = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        if not os.path.isdir(os.path.dirname(os.path.abspath(args.out))):
            raise ValueError(f"{args.out}: expected the directory of --out to be there, found none")
        if os.path.realpath(args.out) == os.path.realpath(args.input):
            raise ValueError(f"{args.out}: expected another file than the input as --out, found the same")
        statistics = read_statistics(args.statistics) if args.statistics else None
        labels = read_vocabulary(args.labels) if args.labels else ()
        weights, options = read_weights(args.input)
        try:
            layout, checkpoint = convert(weights, options, statistics, labels)
        except ValueError as error:
            raise ValueError(f"{args.input}: {error}") from error
        write_checkpoint(checkpoint, args.out)
    except (OSError, ValueError, ManifestError) as error:
        print(f"maskspec-convert: {error}", file=sys.stderr)
        return 2
    report(layout, checkpoint["cfg"], args.out)
    return 0


def report(layout: str, cfg: Dict[str, Any], path: str) -> None:
    """Say what the file was, and how to go on from the checkpoint."""
    model = cfg["model"]
    grid = model["position_grid"]
    positions = f"learned positions of {grid[0]} x {grid[1]} patches" if grid else "sinusoidal positions"
    print(
        f"{layout}: {model['encoder_layers']} blocks of width {model['encoder_embed_dim']}, {positions}, "
        f"front end {model['front_end']!r}"
    )
    if model.get("num_classes"):
        several = "several" if cfg["task"]["target_is_multilabel"] else "one"
        named = "" if model["label_keys"] else "; they have no names, and only --labels makes it tag"
        print(f"{model['num_classes']} classes, of which a clip has {several}{named}")
    print(f"written to {path}; to finetune it:", f"model.pretrained={shlex.quote(path)}", end=" ")
    print(*map(shlex.quote, finetuning_overrides(cfg)))


if __name__ == "__main__":
    sys.exit(main())
