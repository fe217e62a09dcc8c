"""A finetuning step of the base model, 527 classes, on clips of 10 s, against a ViT of timm of the same size:
`python -m benchmarks finetuning_step`.

A step is forward, binary cross-entropy, backward and AdamW, in float32 and training mode; ours uses AdamW's fused
kernel if torch has it, as `maskspec_adamw` does, the peer AdamW's defaults. Both get the log-mel of our front end, and
pool by the mean over the patches.
"""

from typing import Callable

import numpy as np
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from benchmarks.steps import RATE, SECONDS, noise, our_optimizer
from benchmarks.timing import Row, in_turns, time_row
from maskspec_fairseq.modules.classifier import SpectrogramClassifier
from maskspec_fairseq.modules.log_mel import LogMel

CLASSES, PATCHOUT = 527, 0.4
BATCH, ROUNDS = 2, 6  # a step of 8 clips takes ten seconds
CLIP_KEYS = np.array([[1, 1, clip] for clip in range(BATCH)])  # (seed, epoch, clip)


def base_vit(size: tuple[int, int]) -> VisionTransformer:
    """timm's base ViT on images of a size (F, S) and one channel; mean over the patches, CLASSES logits."""
    return VisionTransformer(size, patch_size=16, in_chans=1, num_classes=CLASSES, global_pool="avg", class_token=False)


class TimmClassifier(nn.Module):
    """Our front end, and timm's base ViT on its log-mel as an image of one channel; (B, T) -> (B, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.front_end = LogMel("paper", RATE)
        size = (self.front_end.n_mels, self.front_end.num_frames(SECONDS * RATE))
        self.network = base_vit(size)

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        return self.network(self.front_end(waveform)[:, None])


def step_of(logits_of: Callable[[], torch.Tensor], optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    target = torch.rand(BATCH, CLASSES, generator=torch.Generator().manual_seed(1)).lt(0.01).float()

    def step() -> None:
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(logits_of(), target).backward()
        optimizer.step()

    return step


def ours(waveform: torch.Tensor, patchout: float) -> Callable[[], None]:
    model = SpectrogramClassifier(CLASSES, patchout=patchout).train()
    return step_of(lambda: model(waveform, CLIP_KEYS), our_optimizer(model))


def rows() -> list[Row]:
    waveform = noise(BATCH)
    peer = TimmClassifier().train()
    ways: dict[str, Callable[[], None]] = {
        "theirs": step_of(lambda: peer(waveform), torch.optim.AdamW(peer.parameters())),
        "whole": ours(waveform, 0.0),
        "patchout": ours(waveform, PATCHOUT),
    }
    seconds = in_turns(ways, ROUNDS)
    titles = {"whole": ("without patchout", "at most 1.0"), "patchout": (f"patchout {PATCHOUT}", "at most 0.6")}
    return [
        time_row(
            f"finetuning step, base, {BATCH} clips of {SECONDS} s, {title}",
            "timm ViT of the same size",
            seconds[name],
            seconds["theirs"],
            target,
        )
        for name, (title, target) in titles.items()
    ]
