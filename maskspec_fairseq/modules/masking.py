"""Which patches are hidden, and which of them are decoded.

Source: MaskSpec, arXiv:2204.12768, section 2.1 and algorithm 1: N = floor(n * alpha) patches, drawn uniformly
without replacement; those that stay keep their order.

Shapes: B batch, L patches, N masked patches, V = L - N visible patches, K <= N decoded patches.
"""

import math
from typing import Optional

import numpy as np
import torch
from torch import Tensor

from maskspec_fairseq.clip_rng import DECODED, MASK, clip_rng

MIN_MASK_RATIO, MAX_MASK_RATIO = 0.05, 0.95


def num_masked(num_patches: int, mask_ratio: float) -> int:
    """N = floor(n * alpha) for the masks of pretraining.

    Raises:
        ValueError: the ratio is outside the paper's [0.05, 0.95], or the clip is too short for it.
    """
    if not MIN_MASK_RATIO <= mask_ratio <= MAX_MASK_RATIO:
        raise ValueError(f"expected mask_ratio in [{MIN_MASK_RATIO}, {MAX_MASK_RATIO}], found {mask_ratio}")
    return num_hidden(num_patches, mask_ratio)


def num_hidden(num_patches: int, share: float) -> int:
    """floor(n * share) for any share that hides some patches and leaves some.

    Raises:
        ValueError: the share is not between 0 and 1, or the clip is too short for it.
    """
    if not 0 < share < 1:
        raise ValueError(f"expected a share of patches above 0 and below 1, found {share}")
    count = _floor_of_share(num_patches, share)
    if not 0 < count < num_patches:
        raise ValueError(
            f"expected at least one masked and one visible patch, found {count} masked of {num_patches}; "
            "use longer clips, or another mask_ratio (in finetuning, patchout)"
        )
    return count


def num_decoded(masked: int, share: float) -> int:
    """K = floor(N * share) of N masked patches, all of them for a share of 1.

    Raises:
        ValueError: the share is not above 0 and at most 1, or nothing is left to decode.
    """
    if not 0 < share <= 1:
        raise ValueError(f"expected model.decoder_share above 0 and at most 1, found {share}")
    count = _floor_of_share(masked, share)
    if not count:
        raise ValueError(
            f"expected at least one masked patch to decode, found a share of {share} of {masked}; "
            "use longer clips, or a larger model.decoder_share"
        )
    return count


def _floor_of_share(count: int, share: float) -> int:
    # 0.55 * 20 is 11.000000000000002 and 0.29 * 100 is 28.999999999999996: the products meant are 11 and 29.
    return math.floor(round(count * share, 6))


def random_masking(clip_keys: np.ndarray, num_patches: int, mask_ratio: float, stream: int = MASK) -> Tensor:
    """Draw the mask of every clip from its own key.

    Args:
        clip_keys: (B, 3) integers (seed, epoch, clip).
        num_patches: L.
        mask_ratio: share of the patches that is masked.
        stream: what the mask is for, MASK or PATCHOUT of `clip_rng.py`; the paper's range of ratios is for MASK alone.

    Returns:
        bool (B, L) on the CPU, True where masked, exactly N per row.

    Raises:
        ValueError: see `num_masked` for MASK, `num_hidden` for another stream.

    Example:
        >>> import numpy as np
        >>> from maskspec_fairseq.modules.masking import random_masking
        >>> mask = random_masking(np.array([[1, 1, 0], [1, 1, 1]]), num_patches=48, mask_ratio=0.75)
        >>> mask.shape, mask.sum(dim=1)
        (torch.Size([2, 48]), tensor([36, 36]))
    """
    count = num_masked(num_patches, mask_ratio) if stream == MASK else num_hidden(num_patches, mask_ratio)
    return _draw(clip_keys, num_patches, count, stream)


def random_decoding(clip_keys: np.ndarray, masked: Tensor, share: float) -> Tensor:
    """Draw the masked patches of every clip that are decoded, from its own key.

    Args:
        clip_keys: (B, 3) integers (seed, epoch, clip).
        masked: (B, N) indices of the masked patches, on the CPU.
        share: of the masked patches.

    Returns:
        (B, K) of these indices, in their order.

    Raises:
        ValueError: see `num_decoded`.
    """
    batch, total = masked.shape
    return masked[_draw(clip_keys, total, num_decoded(total, share), DECODED)].view(batch, -1)


def _draw(clip_keys: np.ndarray, total: int, count: int, stream: int) -> Tensor:
    """bool (B, total) on the CPU, with `count` True in every row, which depend on the row's key alone."""
    drawn = np.zeros((len(clip_keys), total), dtype=bool)
    for row, key in zip(drawn, clip_keys):
        row[clip_rng(key, stream).permutation(total)[:count]] = True
    return torch.from_numpy(drawn)


def split_by_mask(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the visible and of the masked patches: bool (B, L) -> (B, V) and (B, N), both ascending.

    Raises:
        ValueError: the rows do not hide the same number of patches.
    """
    counts = mask.sum(dim=1)
    if (counts != counts[0]).any():
        raise ValueError(f"expected the same number of masked patches in every clip, found {counts.tolist()}")
    order = torch.argsort(mask.to(torch.uint8), dim=1, stable=True)  # (B, L), the visible ones first
    num_visible = mask.shape[1] - int(counts[0])
    return order[:, :num_visible], order[:, num_visible:]


def gather_tokens(tokens: Tensor, indices: Optional[Tensor]) -> Tensor:
    """The tokens at some indices: (B, L, D) and (B, K) -> (B, K, D); all tokens for None."""
    if indices is None:
        return tokens
    return tokens.gather(1, indices[:, :, None].expand(-1, -1, tokens.shape[2]))
