"""Third-party models made of timm's parts, small and with random weights, for the tests of conversion.

Names of weights are those of the released files. Nothing here uses the package that is tested.
"""

import functools
import pickle

import numpy as np
import pytest
import torch
from torch import nn

timm = pytest.importorskip("timm")
from timm.models.vision_transformer import Block, VisionTransformer  # noqa: E402

WIDTH, BLOCKS, HEADS = 192, 2, 3


def sinusoids(width: int, down: int, across: int) -> torch.Tensor:
    """MAE's positions of an image, CLS first with zeros: half of the width for the place across, half for that down."""

    def encode(place):
        angles = np.outer(place, 10000.0 ** (-np.arange(width // 4) / (width / 4)))
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)

    y, x = np.divmod(np.arange(down * across), across)
    positions = np.concatenate([encode(x), encode(y)], axis=1)
    return torch.tensor(np.concatenate([np.zeros((1, width)), positions]), dtype=torch.float32)[None]


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights of a trained model's size, biases and norms included."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "pos_embed" not in name:
            noise = torch.randn(parameter.shape, generator=generator)
            is_gain = "norm" in name and name.endswith("weight")
            parameter.data = 1 + 0.1 * noise if is_gain else 0.05 * noise
    return model.eval()


def blocks(width: int, heads: int, count: int) -> nn.ModuleList:
    norm = functools.partial(nn.LayerNorm, eps=1e-6)
    return nn.ModuleList(Block(width, heads, 4, qkv_bias=True, norm_layer=norm) for _ in range(count))


class Mae(nn.Module):
    """A masked autoencoder of one channel in the layout of the released files.

    Args:
        grid: patches down and across the image.
    """

    def __init__(self, grid, decoder_width=64):
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(1, WIDTH, 16, 16)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(sinusoids(WIDTH, *grid), requires_grad=False)
        self.blocks = blocks(WIDTH, HEADS, BLOCKS)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.decoder_embed = nn.Linear(WIDTH, decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_width))
        self.decoder_pos_embed = nn.Parameter(sinusoids(decoder_width, *grid), requires_grad=False)
        self.decoder_blocks = blocks(decoder_width, 16, 2)
        self.decoder_norm = nn.LayerNorm(decoder_width, eps=1e-6)
        self.decoder_pred = nn.Linear(decoder_width, 256)

    def encode(self, image, mask):
        """(B, 1, H, W) and bool (B, L), the same number in each row -> (B, 1 + V, D)."""
        tokens = self.patch_embed.proj(image).flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]
        tokens = torch.stack([row[~hidden] for row, hidden in zip(tokens, mask)])
        tokens = torch.cat([(self.cls_token + self.pos_embed[:, :1]).expand(len(image), -1, -1), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def decode(self, encoded, mask):
        """(B, 1 + V, D) -> every patch (B, L, P)."""
        tokens = self.decoder_embed(encoded)
        full = self.mask_token.expand(*mask.shape, -1).clone()
        full[~mask] = tokens[:, 1:].flatten(0, 1)
        tokens = torch.cat([tokens[:, :1], full], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            tokens = block(tokens)
        return self.decoder_pred(self.decoder_norm(tokens))[:, 1:]

    def loss(self, image, prediction, mask, norm_pix):
        """Mean over values and masked patches."""
        target = nn.functional.unfold(image, 16, stride=16).transpose(1, 2)
        if norm_pix:
            target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
        error = (prediction - target).square().mean(-1)
        return (error * mask).sum() / mask.sum()


def finetuned(grid, num_classes, noise, seed=0):
    """timm's transformer for one channel that pools the patches, with positions near the sinusoids: no `norm`."""
    model = VisionTransformer(
        img_size=(16 * grid[0], 16 * grid[1]), in_chans=1, embed_dim=WIDTH, depth=BLOCKS, num_heads=HEADS,
        num_classes=num_classes, global_pool="avg", class_token=True,
    )  # fmt: skip
    randomise(model, seed)
    generator = torch.Generator().manual_seed(seed)
    model.pos_embed.data = sinusoids(WIDTH, *grid) + noise * torch.randn(model.pos_embed.shape, generator=generator)
    return model


def write_statistics(path, mean, std, protocol=None):
    """As the released code does: a dictionary, which numpy pickles; or pickled by an older protocol."""
    content = {"all_mean": np.float64(-0.046), "all_std": np.float32(0.712), "frame_mean": mean, "frame_std": std}
    if protocol is None:
        np.save(path, content)
        return str(path)
    array = np.empty((), dtype=object)
    array[()] = content
    with open(path, "wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(array, stream, protocol=protocol)
    return str(path)
