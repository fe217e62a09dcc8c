from collections import Counter

import pytest
import torch
from torch import nn

from maskspec_fairseq.modules.freezing import check_freezing, count_parameters, encoder_parameters, freeze
from tests.factories import small_classifier

WAVEFORM = 0.1 * torch.randn(2, 32000, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "kwargs, match",
    [
        (dict(trainable_layers=3), "expected model.trainable_layers from 1 to 2, .* or 0 for all .* found 3; choose"),
        (dict(trainable_layers=-1), "model.trainable_layers from 1 to 2, .* found -1; choose another number"),
        (
            dict(freeze_encoder=True, freeze_updates=5),
            "freeze_encoder=true, .* without model.freeze_updates, found 5; set model.freeze_encoder=false, or",
        ),
        (
            dict(freeze_encoder=True, trainable_layers=1),
            "freeze_encoder=true, .* without model.trainable_layers, found 1; set .* or model.trainable_layers=0",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(kwargs, match):
    with pytest.raises(ValueError, match=match):
        check_freezing(**{"freeze_encoder": False, "freeze_updates": 0, "trainable_layers": 0, **kwargs}, num_layers=2)


@pytest.mark.parametrize("freeze_updates, trainable_layers", [(0, 0), (0, 2), (5, 1)])
def test_what_goes_together_is_not(freeze_updates, trainable_layers):
    check_freezing(False, freeze_updates, trainable_layers, num_layers=2)


def trained(model):
    return {name.rpartition(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_a_frozen_encoder_leaves_the_rest():
    model = small_classifier(pool="attention", cls_token=True, position_grid=[8, 6])
    assert freeze(model.encoder, True, 0) == [model.encoder]
    assert trained(model) == {"head", "attention_pool", "attention_pool.attention", "attention_pool.attention.out_proj"}


@pytest.mark.parametrize("layers", [1, 2])
def test_the_last_layers_train_with_the_last_norm(layers):
    model = small_classifier(cls_token=True, position_grid=[8, 6])
    frozen = freeze(model.encoder, False, layers)
    assert frozen == list(model.encoder.blocks[: 2 - layers])
    assert {name.split(".")[2] for name in trained(model) if "blocks" in name} == {1: {"1"}, 2: {"0", "1"}}[layers]
    assert {name for name in trained(model) if "blocks" not in name} == {"encoder.norm", "head"}


def kept_bytes(model) -> int:
    """Of all that a forward pass keeps for the backward pass."""
    sizes: Counter = Counter()

    def pack(tensor):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(WAVEFORM).sum()
    return sum(sizes.values())


def test_frozen_parts_keep_no_activations():
    whole, last, none, at_first = (small_classifier(encoder_layers=4) for _ in range(4))
    freeze(last.encoder, False, 1)
    freeze(none.encoder, True, 0)
    at_first.encoder_is_frozen = True
    assert kept_bytes(none) == kept_bytes(at_first) < 0.02 * kept_bytes(whole)
    assert 0.2 < kept_bytes(last) / kept_bytes(whole) < 0.35


def test_the_encoder_is_found_among_the_parameters_of_an_optimizer():
    model = small_classifier()
    copies = {name: nn.Parameter(parameter.detach().clone()) for name, parameter in model.named_parameters()}
    for name, copy in copies.items():
        copy.param_group = f"0:{name}"
    found = list(encoder_parameters(torch.optim.SGD(copies.values(), 0.1)))
    assert [id(parameter) for parameter in found] == [
        id(copy) for name, copy in copies.items() if name.startswith("encoder.")
    ]
    with pytest.raises(ValueError, match="with a name .* for model.freeze_updates, found one .*fp16_no_flatten_grads="):
        list(encoder_parameters(torch.optim.SGD(model.parameters(), 0.1)))


def test_the_number_of_trained_parameters():
    model = small_classifier()  # of width 32, two layers, 5 classes
    block = 4 * 32 * 32 + 2 * 32 * 64 + 4 * 32 + 32 + 64 + 4 * 32
    total = 256 * 32 + 32 + 2 * block + 2 * 32 + 5 * 33
    assert count_parameters(model, False) == f"{total:,} of {total:,} parameters"
    assert count_parameters(model, True) == f"165 of {total:,} parameters"
    freeze(model.encoder, False, 1)
    assert count_parameters(model, False) == f"{block + 64 + 165:,} of {total:,} parameters"
