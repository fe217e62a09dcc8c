"""Check the config and the weights of a file against each other, before a model is built of them.

The ranges are far beyond every real model: they keep a damaged or hostile file from asking for memory or hours.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from maskspec_fairseq.audio.read import CHANNELS, clip_samples
from maskspec_fairseq.fields import FLAG, TEXT, Field, either, int_between, list_of, number, one_of
from maskspec_fairseq.modules.decoder import ATTENTIONS
from maskspec_fairseq.modules.frame_head import HEAD_KINDS
from maskspec_fairseq.modules.front_ends import FRONT_ENDS
from maskspec_fairseq.modules.pooling import ATTENTION, POOLS

WIDTH = int_between(4, 16384, step=4)  # sine and cosine of rows and columns take a quarter each
FFN_WIDTH = int_between(1, 65536)
LAST_LAYER = 256
LAYERS = int_between(1, LAST_LAYER)
HEADS = int_between(1, 1024)
SHARE = number(0, 1)
RATE = int_between(1, 768000)
PATCH_SIDE = int_between(1, 256)

# The fields in which an encoder and the weights for it must agree.
ENCODER: dict[str, Field] = {
    "front_end": one_of(*FRONT_ENDS),
    "sample_rate": RATE,
    "patch_size": either(PATCH_SIDE, list_of(PATCH_SIDE, 2)),
    "encoder_embed_dim": WIDTH,
    "encoder_layers": LAYERS,
    "encoder_attention_heads": HEADS,
    "encoder_ffn_embed_dim": FFN_WIDTH,
    "cls_token": FLAG,
    "position_grid": list_of(int_between(1, 100_000), 0, 2),
}
# The arguments of `SpectrogramClassifier` that say what it is; the others say how it is trained.
ARCHITECTURE = (*ENCODER, "pool", "norm_after_pool", "head")
LABELS: dict[str, Field] = {
    "num_classes": int_between(0, 1_000_000),
    "label_keys": list_of(TEXT),
    "label_names": list_of(TEXT),
}
# All of both models, by the names of their arguments and configs.
MODEL: dict[str, Field] = {
    **ENCODER,
    **LABELS,
    "mel_jitter": FLAG,
    "mask_ratio": SHARE,
    "decoder_share": SHARE,
    "decoder_attention": one_of(*ATTENTIONS),
    "decoder_embed_dim": WIDTH,
    "decoder_layers": LAYERS,
    "decoder_attention_heads": HEADS,
    "decoder_ffn_embed_dim": FFN_WIDTH,
    "dropout": SHARE,
    "drop_path": SHARE,
    "norm_pix_loss": FLAG,
    "embedding_pool": one_of(*POOLS),
    "pool": one_of(*POOLS, ATTENTION),
    "norm_after_pool": FLAG,
    "head": one_of(*HEAD_KINDS),
    "spec_augment_bins": int_between(0, 100_000),
    "spec_augment_frames": int_between(0, 100_000),
    "patchout": SHARE,
    "freeze_encoder": FLAG,
    "freeze_updates": int_between(0, 1_000_000_000),
    "trainable_layers": int_between(0, LAST_LAYER),
    "pretrained": TEXT,
}
TASK: dict[str, Field] = {
    "sample_rate": RATE,
    "clip_sec": number(0.01, 600),
    "channel": one_of(*CHANNELS),
    "target_is_multilabel": FLAG,
}
# The log-mel statistics among the weights of a model: mean and deviation.
STATISTICS = ("front_end.mel_mean", "front_end.mel_std")
# The arguments that say which weights a model has.
SHAPES = (
    "patch_size", "encoder_embed_dim", "encoder_layers", "encoder_ffn_embed_dim", "cls_token", "position_grid",
    "decoder_embed_dim", "decoder_layers", "decoder_ffn_embed_dim", "pool", "norm_after_pool",
    "head", "num_classes",
)  # fmt: skip
LARGEST = 1e6  # weight; sums of products with larger ones leave float32
LEAST_DEVIATION = 1e-6  # of a log-mel
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_labels(keys: list[str], names: list[str], num_classes: int, where: str) -> None:
    """Check that each class has a key and a name, or that there are no labels at all.

    Raises:
        ValueError: otherwise.
    """
    if len(keys) != len(names) or len(keys) not in (0, num_classes):
        raise ValueError(
            f"{where}: expected label_keys and label_names for each of the {num_classes} classes of the head, or none, "
            f"found {len(keys)} and {len(names)}"
        )


def check_tensors(weights: Any, where: str) -> None:
    """Check that a dictionary holds tensors by name, each with memory of its own and numbers of a model.

    Log-mel statistics may be NaN throughout, as converted image models have them (`LogMel.has_statistics`).

    Raises:
        ValueError: it does not, with the name of the first that is otherwise.
    """
    if not isinstance(weights, dict):
        raise ValueError(f"{where}: expected weights by name, found {type(weights).__name__}")
    for name, value in weights.items():
        problem = _problem_of(name, value)
        if problem:
            raise ValueError(f"{where}: expected weights, found {name!r} {problem}")


def _problem_of(name: Any, value: Any) -> str:
    if not isinstance(name, str) or not torch.is_tensor(value):
        return f"with a {type(value).__name__} instead of a tensor"
    if value.layout is not torch.strided or value.device.type != "cpu":
        return f"as a {value.layout} tensor on {value.device} instead of numbers in memory"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return f"of shape {tuple(value.shape)} in {value.untyped_storage().nbytes()} bytes, which are too few"
    if not value.is_floating_point() or (name in STATISTICS and value.isnan().all()):
        return ""
    if value.dtype not in FLOATS or not (value.float().abs() <= LARGEST).all():
        return f"with NaN, infinity or numbers beyond {LARGEST:g}"
    if name == STATISTICS[1] and not (value >= LEAST_DEVIATION).all():
        return f"with deviations below {LEAST_DEVIATION:g}"
    return ""


def check_weights(
    model: Callable[..., nn.Module],
    arguments: Mapping[str, Any],
    weights: Any,
    clip_sec: float,
    where: str,
    names: Optional[Mapping[str, str]] = None,
) -> None:
    """Check that weights are all of those that a model has, and nothing else, without building it.

    Args:
        model: the module's class.
        arguments: of the model; `position_grid` and `encoder_embed_dim` at least.
        weights: what a file holds.
        clip_sec: s, the length of the clips that the model is for.
        where: the file.
        names: of arguments that its config calls otherwise, for the message.

    Raises:
        ValueError: the arguments do not go together, see the module, clips are shorter than a patch, or the weights are
            others.
    """
    check_tensors(weights, where)
    found = {name: tuple(value.shape) for name, value in weights.items()}
    learned = (math.prod(arguments["position_grid"]) * arguments["encoder_embed_dim"],)
    if arguments["position_grid"] and found.get("encoder.learned_positions") != learned:  # computed in the outline, too
        differing = [f"encoder.learned_positions of shape {found.get('encoder.learned_positions')}, not {learned}"]
    else:
        try:
            with _Outline():
                built: Any = model(**arguments)
            built.front_end.num_frames(clip_samples(clip_sec, built.front_end.sample_rate))
        except ValueError as error:
            raise ValueError(f"{where}: expected the config of a model, found one that makes none: {error}") from error
        outline = built.state_dict()
        differing = [f"no {name}" for name in outline if name not in found]
        differing += [f"{name}, which it does not have" for name in found if name not in outline]
        differing += [
            f"{name} of shape {found[name]}, not {tuple(value.shape)}"
            for name, value in outline.items()
            if found.get(name, value.shape) != value.shape
        ]
        differing += [f"{name} of {value.dtype}" for name, value in weights.items() if not value.is_floating_point()]
    if differing:
        config = ", ".join(f"{(names or {}).get(name, name)} {arguments[name]}" for name in SHAPES if name in arguments)
        raise ValueError(
            f"{where}: expected the weights of the model that its config describes ({config}), found "
            f"{listed(differing)}"
        )


class _Outline(TorchFunctionMode):
    """Modules that are built under it have names and shapes, but neither memory nor values."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in (torch.empty, torch.zeros, torch.ones) and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        name = getattr(func, "__name__", "")
        filled = args[0] if args else kwargs.get("tensor")
        if name.endswith("_") and not name.endswith("__") and torch.is_tensor(filled) and filled.is_meta:
            return filled
        return func(*args, **kwargs)


def listed(names: Sequence[str]) -> str:
    """The first five of some names, for a message; "none" without any."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "none"
