"""Write an encoder for timm: the weights of its `VisionTransformer`, and the arguments that build it.

timm's names, its order of patches (row by row, low frequencies first) and its LayerNorm are ours already. What differs:
a patch is projected by a convolution, and positions are a weight, here those of a clip of the model's length. timm
pools all patches of its input, and knows the mean and the CLS token.

Shapes: F mel bins, S frames, p x q mel bins and frames of a patch, L patches, D width.
"""

import json
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from maskspec_fairseq.atomic_write import PathLike, write_together
from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.modules.sizes import SIZES

TIMM_FILES = ("timm.safetensors", "timm.json")
TIMM_POOLS = {"mean": "avg", "cls": "token"}
OUTSIDE = ("front_end.", "encoder.learned_positions")  # not copied: timm starts from the log-mel, and has `pos_embed`


def check_timm(model: AudioModel) -> None:
    """Check that timm has such a model.

    Raises:
        ValueError: it has a pooling, layers or a head that timm has not.
    """
    network, last = model.network, len(model.network.encoder.blocks)
    if network.head_of_frames:
        raise ValueError(
            "expected a model with a head of clips for timm, found model.head=frames; add --pool mean to write its "
            "encoder without the head"
        )
    if network.pool not in TIMM_POOLS:
        raise ValueError(
            f"expected the pooling {' or '.join(TIMM_POOLS)}, which timm has, found {network.pool}; add --pool mean to "
            "write the encoder without a head"
        )
    if model.layers not in ((), (last,)):
        raise ValueError(
            f"expected the last layer, {last}, for timm, found the layers {', '.join(map(str, model.layers))}; write "
            "another folder without --layers"
        )


def timm_arguments(model: AudioModel) -> dict[str, Any]:
    """What `timm.create_model` takes to build the model, as plain values.

    The name is that of our size; an encoder of none of the sizes is built by the arguments after it.

    Raises:
        ValueError: see `check_timm`.
    """
    check_timm(model)
    network, architecture = model.network, model.architecture
    width, ffn_width = architecture["encoder_embed_dim"], architecture["encoder_ffn_embed_dim"]
    size = next((name for name, size in SIZES.items() if size.encoder_embed_dim == width), "tiny")
    arguments = {
        "model_name": f"vit_{size}_patch16_224",
        "in_chans": 1,
        "img_size": [network.front_end.n_mels, network.front_end.num_frames(model.window_samples)],
        "patch_size": list(network.patch_size),
        "class_token": architecture["cls_token"],
        "global_pool": TIMM_POOLS[network.pool],
        "fc_norm": network.pool_norm is not None,  # else timm normalises after its mean, and not before
        "num_classes": len(model.labels),
    }
    sizes = {
        "embed_dim": (width, SIZES[size].encoder_embed_dim),
        "depth": (architecture["encoder_layers"], SIZES[size].encoder_layers),
        "num_heads": (architecture["encoder_attention_heads"], SIZES[size].encoder_attention_heads),
    }
    arguments.update((name, found) for name, (found, named) in sizes.items() if found != named)
    if ffn_width != 4 * width:
        arguments["mlp_ratio"] = (ffn_width + 0.5) / width  # timm multiplies it by the width, and cuts off the rest
    return arguments


def timm_weights(model: AudioModel) -> dict[str, Tensor]:
    """The weights by timm's names, float32 on the CPU; `load_state_dict` of the model takes them with strict=True.

    Raises:
        ValueError: see `check_timm`.
    """
    check_timm(model)
    network, encoder = model.network, model.network.encoder
    weights = {
        name.replace("pool_norm.", "fc_norm.").removeprefix("encoder."): value.detach().float().cpu()
        for name, value in network.state_dict().items()
        if not name.startswith(OUTSIDE)
    }
    kernel = weights.pop("patch_embed.weight")  # (D, p * q)
    weights["patch_embed.proj.weight"] = kernel.reshape(len(kernel), 1, *network.patch_size)  # (D, 1, p, q)
    weights["patch_embed.proj.bias"] = weights.pop("patch_embed.bias")
    positions = encoder.positions(network.front_end.grid(model.window_samples), kernel)  # (1, L, D)
    if encoder.cls_token is not None:
        positions = nn.functional.pad(positions, (0, 0, 1, 0))  # (1, 1 + L, D): ours has none of its own
    weights["pos_embed"] = positions
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in weights.items()}


def write_timm(model: AudioModel, directory: PathLike) -> None:
    """Write `TIMM_FILES`, the weights and the arguments, into a directory.

    Raises:
        ValueError: see `check_timm`.
        OSError: it cannot be written.
    """
    content, arguments = save(timm_weights(model)), json.dumps(timm_arguments(model), indent=1) + "\n"
    weights_file, arguments_file = TIMM_FILES
    files = {
        weights_file: lambda path: path.write_bytes(content),
        arguments_file: lambda path: path.write_text(arguments),
    }
    write_together(directory, files)
