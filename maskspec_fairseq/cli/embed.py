"""maskspec-embed: write embeddings of files or of a manifest's clips, by any model, pretrained or finetuned."""

import argparse
import sys
from collections.abc import Sequence
from typing import Optional

from maskspec_fairseq.argument_types import int_at_least, output_name
from maskspec_fairseq.cli.arguments import (
    add_batch_size,
    add_device,
    add_precision,
    add_readout,
    add_workers,
    list_audio,
    make_parser,
)
from maskspec_fairseq.cli.program import report_failures, run_program
from maskspec_fairseq.inference.audio_model import MAX_WINDOWS
from maskspec_fairseq.inference.embedding_job import embed_clips, list_files, list_manifest
from maskspec_fairseq.inference.load import load_model

EXAMPLE = """maskspec-embed clips/*.wav --checkpoint CHECKPOINT --out clips.npy
maskspec-embed --data data/esc50 --subset fold1 --checkpoint CHECKPOINT --out fold1.npz --pool frequency+max
maskspec-embed hour.flac --checkpoint CHECKPOINT --out embeddings/ --frames --passes 4"""


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-embed", __doc__, EXAMPLE)
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="audio of any length, rate and number of channels; or a folder of it"
    )
    parser.add_argument("--data", metavar="DATA_DIR", help="with a manifest, instead of files")
    parser.add_argument("--subset", help="of DATA_DIR: the manifest is DATA_DIR/SUBSET.tsv")
    parser.add_argument("--checkpoint", required=True, help="of any run, or a folder of maskspec-export")
    parser.add_argument(
        "--out",
        type=output_name,
        required=True,
        help="NAME.npy or NAME.npz with all clips, any other name for a folder with one .npy per clip",
    )
    parser.add_argument(
        "--frames",
        action="store_true",
        help="an embedding per column of patches, 160 ms with 16 frames, and its time in s, instead of one per clip",
    )
    parser.add_argument(
        "--passes",
        type=int_at_least(1),
        default=1,
        metavar="N",
        help="with --frames: encode every clip N times, for a frame every 160/N ms (default: %(default)s)",
    )
    add_readout(parser)
    add_batch_size(parser, MAX_WINDOWS)
    add_workers(parser)
    add_precision(parser)
    add_device(parser)
    return parser


def run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if bool(args.files) == bool(args.data):
        raise ValueError(
            f"expected either files or --data, found {'both' if args.files else 'neither'}; name audio files, or "
            "--data DATA_DIR --subset SUBSET"
        )
    if bool(args.data) != bool(args.subset):
        raise ValueError("expected --data and --subset together, found one of them; add the other")
    if args.passes > 1 and not args.frames:
        raise ValueError(f"expected --passes with --frames only, found --passes {args.passes}; add --frames")
    if args.frames and args.pool not in (None, "mean", "frequency"):
        raise ValueError(
            f"expected --pool mean or frequency with --frames, found {args.pool}; the others are of whole clips"
        )
    clips = list_manifest(args.data, args.subset) if args.data else list_files(list_audio(args.files))
    model = load_model(args.checkpoint, args.pool, args.layers).to(args.device)
    result = embed_clips(
        model, clips, args.out, args.frames, args.passes, args.batch_size, args.workers, args.precision
    )
    earlier = f", {result.num_before} of them before" if result.num_before else ""
    written = args.out if result.num_embedded else "nothing written"
    print(f"embedded {result.num_embedded} of {result.num_clips} clips{earlier}: {written}")
    return report_failures(parser, result.failed, f"{result.num_clips} clips could not be embedded")


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = build_parser()
    return run_program(parser, lambda args: run(args, parser), argv)


if __name__ == "__main__":
    sys.exit(main())
