"""maskspec-page: a page in the browser: the tags of a file over time, or what a pretraining has learned."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from maskspec_fairseq.argument_types import int_at_least, seconds
from maskspec_fairseq.checkpoints.read import load_autoencoder, read_checkpoint
from maskspec_fairseq.cli.arguments import add_device, make_parser
from maskspec_fairseq.cli.program import run_program
from maskspec_fairseq.inference.load import load_labelled_model
from maskspec_fairseq.inference.tagging import window_samples
from maskspec_fairseq.page.server import check_port, serve, upload_folder
from maskspec_fairseq.registered_names import MODELS, PRETRAINING_MODEL

if TYPE_CHECKING:
    import gradio

EXAMPLE = "maskspec-page --checkpoint runs/esc10/fold1/checkpoints/checkpoint_last.pt"


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-page", __doc__, EXAMPLE)
    parser.add_argument(
        "--checkpoint", required=True, help="of a finetuning or pretraining run, or a folder of maskspec-export"
    )
    parser.add_argument(
        "--port", type=int_at_least(1), default=7860, metavar="N", help="of 127.0.0.1 (default: %(default)s)"
    )
    parser.add_argument(
        "--window", type=seconds, metavar="S", help="s, tag windows of this length (default: the model's clips)"
    )
    parser.add_argument("--hop", type=seconds, metavar="S", help="s from one window to the next (default: --window)")
    add_device(parser)
    return parser


def run(args: argparse.Namespace) -> None:
    if args.hop and not args.window:
        raise ValueError(f"expected --hop with --window, found --hop {args.hop:g} alone; add --window")
    check_port(args.port)
    with upload_folder() as folder:
        page = page_of(args, folder)
        serve(page, args.port, lambda address: print(f"{address}  (Ctrl-C closes the page)", flush=True))


def page_of(args: argparse.Namespace, folder: Path) -> "gradio.Blocks":
    """The page of a checkpoint.

    Args:
        folder: of `upload_folder`.

    Raises:
        ImportError: gradio is not installed.
        ValueError: the checkpoint cannot be read, or its model has no windows or no labels.
        OSError: the checkpoint cannot be read.
    """
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'expected gradio, which serves the page, found: {error}; pip install "maskspec-fairseq[page]" '
            "(Python 3.10 or newer)"
        ) from error
    name = model_name(args.checkpoint)
    if is_pretrained(args.checkpoint):
        from maskspec_fairseq.page.reconstruction_page import reconstruction_page

        if args.window:
            raise ValueError(
                f"{args.checkpoint}: expected a finetuned model for --window, found one of a pretraining; leave it out"
            )
        autoencoder, cfg = load_autoencoder(args.checkpoint)
        task = cfg["task"]
        return reconstruction_page(autoencoder.to(args.device), name, task["clip_sec"], task["channel"], folder)
    from maskspec_fairseq.page.tags_page import tags_page

    model = load_labelled_model(args.checkpoint).to(args.device)
    if args.window and model.network.head_of_frames:
        raise ValueError(
            f"{args.checkpoint}: expected a model of clips for --window, found one with a head of frames, which has no "
            "windows; leave it out"
        )
    return tags_page(model, name, window_samples(model, args.window, args.hop) if args.window else None, folder)


def is_pretrained(path: str) -> bool:
    """Whether a checkpoint has a decoder, so that it reconstructs; folders, here or on the Hub, have none."""
    return os.path.isfile(path) and read_checkpoint(path, MODELS)["cfg"]["model"]["_name"] == PRETRAINING_MODEL


def model_name(path: str) -> str:
    """The last three parts of a checkpoint's path: enough to know the run."""
    return "/".join(part for part in Path(path).absolute().parts[-3:] if part not in ("/", "checkpoints"))


def main(argv: Optional[Sequence[str]] = None) -> int:
    return run_program(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
