"""maskspec-export: write a trained model as a folder, and for transformers, ONNX, torch.export and timm."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import torch

from maskspec_fairseq.argument_types import output_name
from maskspec_fairseq.atomic_write import write_whole
from maskspec_fairseq.cli.arguments import add_readout, make_parser
from maskspec_fairseq.cli.program import run_program
from maskspec_fairseq.inference.export_folder import check_head_of_clips, write_folder
from maskspec_fairseq.inference.export_onnx import check_onnx, write_onnx
from maskspec_fairseq.inference.export_program import write_program
from maskspec_fairseq.inference.export_timm import TIMM_FILES, check_timm, write_timm
from maskspec_fairseq.inference.export_transformers import (
    CARD_FILE,
    PREPROCESSOR_FILE,
    STUB_FILE,
    write_transformers,
)
from maskspec_fairseq.inference.load import load_model

ONNX_FILE = "model.onnx"
PROGRAM_FILE = "model.pt2"
FILES = {
    "onnx": (ONNX_FILE,),
    "torch_export": (PROGRAM_FILE,),
    "timm": TIMM_FILES,
    "transformers": (STUB_FILE, PREPROCESSOR_FILE),
}
EXAMPLE = """maskspec-export --checkpoint runs/esc10/fold1/checkpoints/checkpoint_last.pt --out esc10_fold1 --onnx
python -c "import maskspec_fairseq; print(maskspec_fairseq.load_model('esc10_fold1').labels)\""""


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-export", __doc__, EXAMPLE)
    parser.add_argument("--checkpoint", required=True, help="of a pretraining or finetuning run, or an exported folder")
    parser.add_argument(
        "--out", type=output_name, required=True, metavar="DIR", help="folder for config.json and model.safetensors"
    )
    parser.add_argument(
        "--onnx", action="store_true", help=f"also write {ONNX_FILE}: the whole model, for waveforms at its rate"
    )
    parser.add_argument(
        "--torch-export",
        action="store_true",
        help=f"also write {PROGRAM_FILE}: the whole model, for clips of its length and rate, that torch alone runs",
    )
    parser.add_argument(
        "--timm",
        action="store_true",
        help=f"also write {' and '.join(TIMM_FILES)}: the encoder for timm, and the arguments of its create_model",
    )
    parser.add_argument(
        "--transformers",
        action="store_true",
        help="also write what Hugging Face transformers needs to load the folder, and a model card",
    )
    parser.add_argument(
        "--float16", action="store_true", help="write the weights in half the size; they are float32 when loaded"
    )
    add_readout(parser)
    return parser


def check_out(args: argparse.Namespace) -> None:
    """Check that no file of an earlier export would be left next to another model.

    Raises:
        ValueError: one would be, because its option is not given.
    """
    for option, files in FILES.items():
        left = [name for name in files if Path(args.out, name).exists()]
        if left and not getattr(args, option):
            raise ValueError(
                f"{args.out}: expected a folder without files that this export would not replace, found {left[0]} of "
                f"an earlier one; add --{option.replace('_', '-')}, remove it, or name another folder"
            )


def run(args: argparse.Namespace) -> None:
    check_out(args)
    model = load_model(args.checkpoint, args.pool, args.layers)
    if args.onnx:
        check_onnx(model)  # before anything is written
    if args.torch_export:
        check_head_of_clips(model, "--torch-export")
    if args.timm:
        check_timm(model)
    dtype = torch.float16 if args.float16 else torch.float32
    if args.transformers:
        if write_transformers(model, args.out, args.checkpoint, dtype):
            print(f"{Path(args.out, CARD_FILE)}: a model card; fill in what is unknown")
    else:
        write_folder(model, args.out, dtype)
    if args.onnx:
        write_whole(Path(args.out, ONNX_FILE), lambda path: write_onnx(model, str(path)))
    if args.torch_export:
        write_whole(Path(args.out, PROGRAM_FILE), lambda path: write_program(model, str(path)))
    if args.timm:
        write_timm(model, args.out)
    kind = " in frames" if model.network.head_of_frames else ""
    head = f"a head for {len(model.labels)} classes{kind}" if model.labels else "no head"
    print(f"{args.out}: width {model.embed_dim}, {head}, {model.sample_rate} Hz, {model.clip_sec} s")


def main(argv: Optional[Sequence[str]] = None) -> int:
    return run_program(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
