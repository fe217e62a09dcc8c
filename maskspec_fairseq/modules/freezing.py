"""Freezing: parts of a classifier's encoder that finetuning leaves as they are, for good or at first.

A frozen part has no gradients, so that it keeps no activations, and runs as in validation: without dropout and
stochastic depth.
"""

from collections.abc import Iterator

import torch
from torch import nn

from maskspec_fairseq.modules.encoder import SpectrogramEncoder


def check_freezing(freeze_encoder: bool, freeze_updates: int, trainable_layers: int, num_layers: int) -> None:
    """Check what is to be frozen, for an encoder of `num_layers` blocks.

    Args:
        freeze_encoder: all of the encoder, for good.
        freeze_updates: how many updates all of the encoder is frozen for.
        trainable_layers: how many of the last blocks train; 0 for the whole encoder.

    Raises:
        ValueError: more blocks than there are, or settings that contradict each other.
    """
    if not 0 <= trainable_layers <= num_layers:
        raise ValueError(
            f"expected model.trainable_layers from 1 to {num_layers}, the encoder's layers, or 0 for all of it, found "
            f"{trainable_layers}; choose another number"
        )
    others = {"freeze_updates": freeze_updates, "trainable_layers": trainable_layers}
    for name, value in others.items():
        if freeze_encoder and value:
            raise ValueError(
                f"expected model.freeze_encoder=true, with which the encoder is never trained, without model.{name}, "
                f"found {value}; set model.freeze_encoder=false, or model.{name}=0"
            )


def freeze(encoder: SpectrogramEncoder, freeze_encoder: bool, trainable_layers: int) -> list[nn.Module]:
    """Take from training what is frozen for good; an optimizer that is built afterwards has no state for it.

    Args:
        freeze_encoder, trainable_layers: see `check_freezing`. With `trainable_layers` the final norm trains, too.

    Returns:
        The modules that are to be in eval mode in training.
    """
    if freeze_encoder:
        encoder.requires_grad_(False)
        return [encoder]
    if not trainable_layers:
        return []
    blocks = list(encoder.blocks)[:-trainable_layers]
    for part in (encoder.patch_embed, *blocks, encoder.cls_token, encoder.learned_positions):
        if part is not None:
            part.requires_grad_(False)
    return blocks


def encoder_parameters(optimizer: torch.optim.Optimizer) -> Iterator[nn.Parameter]:
    """The parameters of an optimizer that are the encoder's, by the attribute `param_group`, "layer:name".

    In half precision they are not those of the model, but float32 copies.

    Raises:
        ValueError: parameters without a name, as where fairseq has flattened them into one.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = getattr(parameter, "param_group", "").partition(":")[2]
            if not name:
                raise ValueError(
                    "expected parameters with a name (param_group) for model.freeze_updates, found one without; "
                    "with common.fp16 set common.fp16_no_flatten_grads=true"
                )
            if name.startswith("encoder."):
                yield parameter


def count_parameters(model: nn.Module, encoder_is_frozen: bool) -> str:
    """How many parameters train, in words such as "1,930 of 5,526,538 parameters"."""
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    if encoder_is_frozen:
        trained = {name: size for name, size in trained.items() if not name.startswith("encoder.")}
    return f"{sum(trained.values()):,} of {sum(p.numel() for p in model.parameters()):,} parameters"
