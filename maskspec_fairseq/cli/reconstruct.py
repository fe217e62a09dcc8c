"""maskspec-reconstruct: a picture of what a pretrained model makes of the hidden patches of a clip."""

import argparse
import os
import sys
from dataclasses import dataclass
from typing import Optional

import matplotlib
import numpy as np
import torch

from maskspec_fairseq.argument_types import int_at_least, seconds
from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import CHANNELS, load_clip
from maskspec_fairseq.checkpoints.read import load_autoencoder
from maskspec_fairseq.cli.arguments import make_parser
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.modules.masking import gather_tokens, random_masking, split_by_mask
from maskspec_fairseq.modules.mel_banks import mel_centres_hz
from maskspec_fairseq.modules.patches import patchify, unpatchify

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

EXAMPLE = (
    "maskspec-reconstruct rooster.ogg --checkpoint runs/esc10_tiny/checkpoints/checkpoint_last.pt --out rooster.png"
)
FREQUENCY_TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000, 12000)


@dataclass
class Reconstruction:
    """Three spectrograms of a clip, dB, (F, S), and how good the third is.

    masked is NaN where patches are hidden; restored holds the visible patches and, between them, the predictions.
    loss and baseline_loss are squared errors a normalised value over the hidden patches, the model's and that of
    answering the mean.
    """

    original: np.ndarray
    masked: np.ndarray
    restored: np.ndarray
    loss: float
    baseline_loss: float


@torch.no_grad()
def reconstruct(
    model: MaskedAutoencoder, waveform: torch.Tensor, num_samples: int, mask_ratio: float, seed: int
) -> Reconstruction:
    """Hide patches of one clip and predict them.

    Args:
        waveform: float32 (T,).
        num_samples: samples before the padding.
        seed: draws the mask.
    """
    spectrogram = model.front_end(waveform[None])
    patches = patchify(spectrogram, model.patch_size)  # (1, L, P)
    grid = model.front_end.grid(len(waveform))
    mask = random_masking(np.array([[seed, 0, 0]]), patches.shape[1], mask_ratio)
    output = model(waveform[None], torch.tensor([num_samples]), mask=mask)
    _, hidden = split_by_mask(mask)
    prediction = model.denormalise_prediction(output["prediction"], gather_tokens(patches, hidden))
    restored, masked = patches.clone(), patches.clone()
    restored[0, hidden[0]] = prediction[0]
    masked[0, hidden[0]] = float("nan")
    original, masked, restored = (
        model.front_end.to_decibels(unpatchify(part, grid))[0].numpy() for part in (patches, masked, restored)
    )
    scored = output["scored"]
    target = output["target"][scored]
    loss = (output["prediction"][scored] - target).square().mean()
    return Reconstruction(original, masked, restored, float(loss), float(target.var(unbiased=False)))


def draw(result: Reconstruction, model: MaskedAutoencoder, title: str, path: str) -> None:
    """Draw the three spectrograms side by side into a PNG."""
    front_end = model.front_end
    params = front_end.params
    centres = mel_centres_hz(params.mel_scale, params.n_mels, front_end.sample_rate, params.f_min, params.f_max)
    ticks = [hz for hz in FREQUENCY_TICKS_HZ if centres[0] <= hz <= centres[-1]]
    seconds = result.original.shape[1] * front_end.hop_length / front_end.sample_rate
    low, high = float(result.original.min()), float(result.original.max())
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.2), sharey=True, layout="constrained")
    for axis, part, name in zip(
        axes, (result.original, result.masked, result.restored), ("original", "masked input", "reconstruction")
    ):
        image = axis.imshow(
            part, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high, interpolation="nearest",
            extent=(0, seconds, 0, part.shape[0]),
        )  # fmt: skip
        axis.set_facecolor("0.75")  # shows where a patch is hidden
        axis.set_title(name)
        axis.set_xlabel("time (s)")
    # imshow spans bin i from i to i + 1, so its centre is at i + 0.5
    axes[0].set_yticks(np.interp(ticks, centres, np.arange(len(centres)) + 0.5), [f"{hz}" for hz in ticks])
    axes[0].set_ylabel("mel bin centre (Hz)")
    figure.colorbar(image, ax=axes, label="power (dB)", pad=0.01)
    figure.suptitle(f"{title}: loss {result.loss:.3f} a value, the mean's {result.baseline_loss:.3f}")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-reconstruct", __doc__, EXAMPLE)
    parser.add_argument("audio", help="a file that soundfile reads; its beginning is used")
    parser.add_argument("--checkpoint", required=True, help="of a pretraining run, checkpoint_last.pt say")
    parser.add_argument("--out", default="reconstruction.png", help="the picture (default reconstruction.png)")
    parser.add_argument(
        "--clip-sec", type=seconds, help="s of the file that are used (default: the run's task.clip_sec)"
    )
    parser.add_argument("--channel", choices=CHANNELS, help="default: the run's task.channel")
    parser.add_argument("--mask-ratio", type=float, help="default: the run's")
    parser.add_argument("--seed", type=int_at_least(0), default=1, help="draws the mask (default 1)")
    return parser


def main(argv: Optional[list] = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        model, cfg = load_autoencoder(args.checkpoint)
        clip_sec = cfg["task"]["clip_sec"] if args.clip_sec is None else args.clip_sec
        mask_ratio = model.mask_ratio if args.mask_ratio is None else args.mask_ratio
        channel = args.channel or cfg["task"]["channel"]
        waveform, num_samples = load_clip(args.audio, model.front_end.sample_rate, clip_sec, channel)
        result = reconstruct(model, torch.from_numpy(waveform), num_samples, mask_ratio, args.seed)
        draw(result, model, os.path.basename(args.audio), args.out)
    except (AudioError, OSError, ValueError) as error:
        print(f"maskspec-reconstruct: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: loss {result.loss:.4f} a value on the hidden patches, the mean's {result.baseline_loss:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
