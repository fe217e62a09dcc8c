"""Cut a spectrogram into rectangular patches and put it together again.

Source: MaskSpec, arXiv:2204.12768, section 2.1, whose patches are squares; names and order of values as in
facebookresearch/mae.

Shapes: B batch, F mel bins, S frames, p x q mel bins and frames of a patch, L patches = R rows (F / p) x M columns
(S / q), P = p * q values per patch.
The patches are ordered row by row, low frequencies first; a row of the grid holds the same mel bins. So are the values
of a patch.
"""

import ast
import contextlib
from collections.abc import Sequence
from typing import Any, Optional, Union

from torch import Tensor

# (mel bins, frames) of a patch; a single number for a square.
PatchSize = Union[int, Sequence[int]]


def patch_shape(patch_size: PatchSize) -> tuple[int, int]:
    """The mel bins and the frames of a patch.

    Raises:
        ValueError: neither a whole number nor two of them, from 1.

    Example:
        >>> from maskspec_fairseq.modules.patches import patch_shape
        >>> patch_shape(16), patch_shape([16, 4])
        ((16, 16), (16, 4))
    """
    sides = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
    if not (isinstance(sides, Sequence) and len(sides) == 2 and all(type(side) is int and side > 0 for side in sides)):
        raise ValueError(
            f"expected model.patch_size as [bins, frames], two whole numbers, or as one for squares, found "
            f"{patch_size!r}; write model.patch_size=[16,8] or model.patch_size=16, for example"
        )
    return sides[0], sides[1]


def simplest_patch_size(patch_size: Any) -> Union[int, list[int]]:
    """A patch size as configs and files hold it: one number for a square, as ever, else [bins, frames].

    Args:
        patch_size: a `PatchSize`, or its text, which is what `fairseq-train --patch-size` gives.

    Raises:
        ValueError: see `patch_shape`.

    Example:
        >>> from maskspec_fairseq.modules.patches import simplest_patch_size
        >>> simplest_patch_size([16, 16]), simplest_patch_size("[16,4]")
        (16, [16, 4])
    """
    if isinstance(patch_size, str):
        with contextlib.suppress(ValueError, SyntaxError):  # then the text is shown
            patch_size = ast.literal_eval(patch_size)
    bins, frames = patch_shape(patch_size)
    return bins if bins == frames else [bins, frames]


def patchify(spectrogram: Tensor, patch_size: PatchSize) -> Tensor:
    """Cut spectrograms into patches: (B, F, S) -> (B, L, P).

    Raises:
        ValueError: F is not a multiple of the patches' mel bins, or S of their frames; see `patch_shape`.

    Example:
        >>> import torch
        >>> from maskspec_fairseq.modules.patches import patchify, unpatchify
        >>> spectrogram = torch.randn(2, 128, 96)
        >>> patches = patchify(spectrogram, (16, 4))
        >>> patches.shape  # 8 rows of 24 patches of 16 x 4 values
        torch.Size([2, 192, 64])
        >>> torch.equal(unpatchify(patches, (8, 24), (16, 4)), spectrogram)
        True
    """
    batch, n_mels, num_frames = spectrogram.shape
    bins, frames = patch_shape(patch_size)
    if n_mels % bins or num_frames % frames:
        raise ValueError(
            f"expected mel bins and frames in multiples of the patch size {bins} x {frames}, found {n_mels} x "
            f"{num_frames}"
        )
    rows, columns = n_mels // bins, num_frames // frames
    blocks = spectrogram.reshape(batch, rows, bins, columns, frames)  # (B, R, p, M, q)
    return blocks.permute(0, 1, 3, 2, 4).reshape(batch, rows * columns, bins * frames)  # (B, L, P)


def unpatchify(patches: Tensor, grid: tuple[int, int], patch_size: Optional[PatchSize] = None) -> Tensor:
    """Put patches together again: (B, L, P) -> (B, F, S), the inverse of `patchify`.

    Args:
        patches: (B, L, P).
        grid: (R, M).
        patch_size: None for squares of P values.

    Raises:
        ValueError: the grid does not hold L patches, or P values are not a patch of that size.
    """
    batch, length, values = patches.shape
    rows, columns = grid
    bins, frames = patch_shape(round(values**0.5) if patch_size is None else patch_size)
    if rows * columns != length or bins * frames != values:
        kind = "square patches" if patch_size is None else f"patches of {bins} x {frames}"
        raise ValueError(f"expected {rows} x {columns} {kind}, found {length} patches of {values} values")
    blocks = patches.reshape(batch, rows, columns, bins, frames)  # (B, R, M, p, q)
    return blocks.permute(0, 1, 3, 2, 4).reshape(batch, rows * bins, columns * frames)  # (B, F, S)
