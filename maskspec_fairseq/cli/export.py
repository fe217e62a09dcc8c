"""maskspec-export: write a trained model as a folder without code, safetensors and a JSON config, and as ONNX."""

import argparse
import sys
from typing import Optional

from maskspec_fairseq.atomic_write import write_together
from maskspec_fairseq.cli.arguments import make_parser
from maskspec_fairseq.inference.export_folder import write_folder
from maskspec_fairseq.inference.export_onnx import write_onnx
from maskspec_fairseq.inference.load import load_model

ONNX_FILE = "model.onnx"
EXAMPLE = """maskspec-export --checkpoint runs/esc10/fold1/checkpoints/checkpoint_last.pt --out esc10_fold1 --onnx
python -c "import maskspec_fairseq; print(maskspec_fairseq.load_model('esc10_fold1').labels)\""""


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-export", __doc__, EXAMPLE)
    parser.add_argument("--checkpoint", required=True, help="of a pretraining or finetuning run, or an exported folder")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for config.json and model.safetensors")
    parser.add_argument(
        "--onnx", action="store_true", help=f"write {ONNX_FILE} too: the whole model, waveforms at its rate in"
    )
    return parser


def main(argv: Optional[list] = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        model = load_model(args.checkpoint)
        write_folder(model, args.out)
        if args.onnx:
            write_together(args.out, {ONNX_FILE: lambda path: write_onnx(model, str(path))})
    except (ImportError, OSError, ValueError) as error:
        print(f"maskspec-export: {error}", file=sys.stderr)
        return 2
    head = f"a head for {len(model.labels)} classes" if model.labels else "no head"
    print(f"{args.out}: width {model.embed_dim}, {head}, {model.sample_rate} Hz, {model.clip_sec} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
