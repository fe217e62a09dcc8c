"""Find which layout third-party weights have."""

from torch import Tensor

from maskspec_fairseq.checkpoints.check import listed
from maskspec_fairseq.conversion import audiomae, image, maskspec
from maskspec_fairseq.conversion.vit import (
    N_MELS,
    count_columns,
    encoder_arguments,
    sinusoid_similarity,
    split_positions,
)

LAYOUTS = {"maskspec": maskspec.convert, "audiomae": audiomae.convert, "image": image.convert}
NEEDED = ("patch_embed.proj.weight", "pos_embed", "blocks.0.mlp.fc1.weight")
# Positions are trained from sinusoids and stay near them. The two layouts' sinusoids have a similarity of at most 0.4
# to each other, unless the grid is square, where they are the same.
NEAR = 0.5
APART = 0.25


def check_weights(weights: dict[str, Tensor]) -> None:
    """Check that weights are those of a vision transformer with square patches.

    Raises:
        ValueError: they are not.
    """
    missing = [name for name in NEEDED if name not in weights]
    if missing:
        raise ValueError(
            "expected the weights of MaskSpec, AudioMAE or a vision transformer with timm's names, found "
            f"{len(weights)} keys, {listed(list(weights))}, without {', '.join(missing)}"
        )
    kernel, positions = weights["patch_embed.proj.weight"], weights["pos_embed"]
    is_square = kernel.dim() == 4 and kernel.shape[2] == kernel.shape[3]
    if not is_square or kernel.shape[1] not in (1, image.COLOUR_CHANNELS) or positions.dim() != 3:
        raise ValueError(
            f"expected square patches of 1 or {image.COLOUR_CHANNELS} channels and positions (1, L, D), found "
            f"patch_embed.proj.weight {tuple(kernel.shape)} and pos_embed {tuple(positions.shape)}"
        )


def find_layout(weights: dict[str, Tensor]) -> str:
    """A key of `LAYOUTS`, where the weights tell it with certainty.

    Patches of three channels are those of an image. A decoder that attends in windows is AudioMAE's. Otherwise
    MaskSpec and AudioMAE differ in the order of the patches alone, mel bins first or time first, which shows in the
    positions: sinusoids of one grid or of the other, exactly or, where they were trained, nearly.

    Args:
        weights: such that `check_weights` accepts them.

    Raises:
        ValueError: the positions are near to neither, or to both.
    """
    if weights["patch_embed.proj.weight"].shape[1] == image.COLOUR_CHANNELS:
        return "image"
    if any(name.startswith("decoder_blocks.") and _is_of_windows(name) for name in weights):
        return "audiomae"
    patch_size = encoder_arguments(weights)["patch_size"]
    _, of_patches = split_positions(weights)
    rows, columns = N_MELS // patch_size, count_columns(len(of_patches), patch_size)
    similarity = {
        "maskspec": sinusoid_similarity(of_patches, rows, columns),
        "audiomae": sinusoid_similarity(of_patches, columns, rows),
    }
    second, first = sorted(similarity, key=similarity.__getitem__)
    if similarity[first] < NEAR or similarity[first] - similarity[second] < APART:
        raise ValueError(
            "expected positions near the sinusoids of either MaskSpec or AudioMAE, found a similarity of "
            f"{similarity['maskspec']:.2f} to MaskSpec's and {similarity['audiomae']:.2f} to AudioMAE's (grid of "
            f"{rows} x {columns} patches); say which file it is with --layout maskspec or --layout audiomae (or "
            "--layout image)"
        )
    return first


def _is_of_windows(name: str) -> bool:
    """Whether a weight of a decoder's block is one that plain attention lacks."""
    _, _, module, *rest = name.split(".")
    return module == "attn" and rest[0] not in ("qkv", "proj")
