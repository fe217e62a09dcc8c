"""Cut a spectrogram into square patches and put it together again.

Source: MaskSpec, arXiv:2204.12768, section 2.1; names and order of values as in facebookresearch/mae.

Shapes: B batch, F mel bins, S frames, p patch size, L patches = R rows (F / p) x M columns (S / p), P = p * p values
per patch.
The patches are ordered row by row, low frequencies first; a row of the grid holds the same mel bins. So are the values
of a patch.
"""

from torch import Tensor


def patchify(spectrogram: Tensor, patch_size: int) -> Tensor:
    """Cut spectrograms into patches: (B, F, S) -> (B, L, P).

    Raises:
        ValueError: F or S is not a multiple of the patch size.

    Example:
        >>> import torch
        >>> from maskspec_fairseq.modules.patches import patchify, unpatchify
        >>> spectrogram = torch.randn(2, 128, 96)
        >>> patches = patchify(spectrogram, 16)
        >>> patches.shape  # 8 rows of 6 patches of 16 x 16 values
        torch.Size([2, 48, 256])
        >>> torch.equal(unpatchify(patches, (8, 6)), spectrogram)
        True
    """
    batch, n_mels, frames = spectrogram.shape
    if n_mels % patch_size or frames % patch_size:
        raise ValueError(
            f"expected mel bins and frames in multiples of the patch size {patch_size}, found {n_mels} x {frames}"
        )
    rows, columns = n_mels // patch_size, frames // patch_size
    blocks = spectrogram.reshape(batch, rows, patch_size, columns, patch_size)  # (B, R, p, M, p)
    return blocks.permute(0, 1, 3, 2, 4).reshape(batch, rows * columns, patch_size * patch_size)  # (B, L, P)


def unpatchify(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Put patches together again: (B, L, P) -> (B, F, S), the inverse of `patchify` for a grid of (rows, columns).

    Raises:
        ValueError: the grid does not hold L patches, or P is not a square.
    """
    batch, length, values = patches.shape
    rows, columns = grid
    patch_size = round(values**0.5)
    if rows * columns != length or patch_size**2 != values:
        raise ValueError(f"expected {rows} x {columns} square patches, found {length} patches of {values} values")
    blocks = patches.reshape(batch, rows, columns, patch_size, patch_size)  # (B, R, M, p, p)
    return blocks.permute(0, 1, 3, 2, 4).reshape(batch, rows * patch_size, columns * patch_size)  # (B, F, S)
