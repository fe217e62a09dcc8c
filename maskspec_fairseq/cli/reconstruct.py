"""maskspec-reconstruct: what a pretrained model puts in place of a clip's hidden patches, as a picture and as sound."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

import numpy as np
import soundfile
import torch
from matplotlib.backend_bases import FigureCanvasBase

from maskspec_fairseq.argument_types import int_at_least, output_path, seconds
from maskspec_fairseq.atomic_write import write_together
from maskspec_fairseq.audio.read import CHANNELS, load_clip
from maskspec_fairseq.checkpoints.read import load_autoencoder
from maskspec_fairseq.cli.arguments import add_device, make_parser
from maskspec_fairseq.cli.program import run_program
from maskspec_fairseq.inference.reconstruct import check_invertible, draw, losses, reconstruct, sounds

EXAMPLE = (
    "maskspec-reconstruct rooster.ogg --checkpoint runs/esc10_tiny/checkpoints/checkpoint_last.pt --out rooster.png"
)


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-reconstruct", __doc__, EXAMPLE)
    parser.add_argument("audio", help="a file that soundfile reads; its beginning is used")
    parser.add_argument("--checkpoint", required=True, help="of a pretraining run, such as checkpoint_last.pt")
    parser.add_argument(
        "--out", type=output_path, default=Path("reconstruction.png"), help="the picture (default: reconstruction.png)"
    )
    parser.add_argument(
        "--wav",
        action="store_true",
        help="also write what the three spectrograms sound like, next to the picture: *_original.wav, *_masked.wav, "
        "*_reconstruction.wav",
    )
    parser.add_argument(
        "--clip-sec", type=seconds, help="s of the file that are used (default: the run's task.clip_sec)"
    )
    parser.add_argument("--channel", choices=CHANNELS, help="default: the run's task.channel")
    parser.add_argument("--mask-ratio", type=float, help="default: the run's")
    parser.add_argument("--seed", type=int_at_least(0), default=1, help="draws the mask (default: 1)")
    add_device(parser)
    return parser


def run(args: argparse.Namespace) -> None:
    """Draw the reconstruction, and write its sound."""
    picture = args.out if args.out.suffix else args.out.with_suffix(".png")
    if picture.suffix[1:].lower() not in FigureCanvasBase.filetypes or args.out.is_dir():
        raise ValueError(
            f"expected --out to name a picture, such as NAME.png, found {args.out}; --wav writes the sounds next to it"
        )
    model, cfg = load_autoencoder(args.checkpoint)
    if args.wav:
        check_invertible(model.front_end)
    clip_sec = cfg["task"]["clip_sec"] if args.clip_sec is None else args.clip_sec
    mask_ratio = model.mask_ratio if args.mask_ratio is None else args.mask_ratio
    channel = args.channel or cfg["task"]["channel"]
    samples, num_samples = load_clip(args.audio, model.front_end.sample_rate, clip_sec, channel)
    waveform = torch.from_numpy(samples).to(args.device)
    result = reconstruct(model.to(args.device), waveform, num_samples, mask_ratio, args.seed)
    files: dict[str, Callable[[Path], None]] = {
        picture.name: lambda path: draw(result, model.front_end, f"{args.audio}, by {args.checkpoint}", path)
    }
    if args.wav:
        for name, sound in sounds(result, model.front_end).items():
            files[f"{picture.stem}_{name}.wav"] = wav_writer(sound, model.front_end.sample_rate)
    write_together(picture.parent, files)
    print(f"{', '.join(str(picture.parent / name) for name in files)}: {losses(result)}")


def wav_writer(waveform: np.ndarray, sample_rate: int) -> Callable[[Path], None]:
    return lambda path: soundfile.write(path, waveform, sample_rate)


def main(argv: Optional[Sequence[str]] = None) -> int:
    return run_program(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
