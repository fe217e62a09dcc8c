import inspect
import re
import resource

import pytest
import torch

from maskspec_fairseq.checkpoints.check import MODEL, STATISTICS, check_tensors, check_weights
from maskspec_fairseq.modules.classifier import SpectrogramClassifier
from maskspec_fairseq.modules.front_ends import FRONT_ENDS
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from tests.factories import SMALL_AUTOENCODER, SMALL_ENCODER

GRID: dict = {"position_grid": []}


@pytest.mark.parametrize("module", [MaskedAutoencoder, SpectrogramClassifier])
def test_every_argument_of_a_model_has_a_type_and_a_range_that_its_default_is_in(module):
    for name, parameter in inspect.signature(module).parameters.items():
        default = 0 if parameter.default is parameter.empty else parameter.default
        assert MODEL[name].accepts(list(default) if name == "position_grid" else default), name


@pytest.mark.parametrize(
    "module, arguments",
    [
        *((SpectrogramClassifier, dict(SMALL_ENCODER, num_classes=3, front_end=name)) for name in FRONT_ENDS),
        (SpectrogramClassifier, dict(SMALL_ENCODER, num_classes=0, cls_token=True, position_grid=[8, 6])),
        (SpectrogramClassifier, dict(SMALL_ENCODER, num_classes=1, norm_after_pool=True, patch_size=8)),
        (MaskedAutoencoder, SMALL_AUTOENCODER),
        (MaskedAutoencoder, dict(SMALL_AUTOENCODER, patch_size=[16, 4])),
        (MaskedAutoencoder, dict(SMALL_AUTOENCODER, cls_token=True, mel_jitter=True, position_grid=[4, 4])),
    ],
)
def test_the_weights_of_a_model_fit_it_and_those_of_another_do_not(module, arguments):
    arguments = {**GRID, **arguments}
    weights = module(**arguments).state_dict()
    random = torch.get_rng_state()
    check_weights(module, arguments, weights, 1.0, "c.pt")
    assert torch.equal(torch.get_rng_state(), random)  # a run that loads a checkpoint draws what it drew
    for field in ("patch_size", "encoder_embed_dim", "encoder_layers", "encoder_ffn_embed_dim"):
        value = arguments.get(field, 16)
        other = {**arguments, field: [8, 2] if isinstance(value, list) else 2 * value}
        match = rf"c.pt: expected the weights .*{field} {re.escape(str(other[field]))}.*, found \w*"
        with pytest.raises(ValueError, match=match):
            check_weights(module, other, weights, 1.0, "c.pt")
    with pytest.raises(ValueError, match=r"\(no encoder|found no encoder.patch_embed.weight$"):
        check_weights(
            module, arguments, {k: v for k, v in weights.items() if k != "encoder.patch_embed.weight"}, 1.0, "c.pt"
        )
    with pytest.raises(ValueError, match="c.pt: .* makes none: expected clips of at least"):
        check_weights(module, arguments, weights, 0.01, "c.pt")
    with pytest.raises(ValueError, match="found odd, which it does not have"):
        check_weights(module, arguments, {**weights, "odd": torch.ones(1)}, 1.0, "c.pt")
    with pytest.raises(ValueError, match="found encoder.patch_embed.bias of torch.int64"):
        check_weights(module, arguments, {**weights, "encoder.patch_embed.bias": torch.zeros(32).long()}, 1.0, "c.pt")


def test_a_config_of_gigabytes_takes_no_memory_to_refuse():
    weights = SpectrogramClassifier(3, **SMALL_ENCODER).state_dict()
    huge = dict(encoder_embed_dim=16384, encoder_ffn_embed_dim=65536, encoder_attention_heads=16, encoder_layers=24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for grid in ([], [100_000, 100_000]):
        with pytest.raises(ValueError, match="encoder_embed_dim 16384, encoder_layers 24"):
            check_weights(
                SpectrogramClassifier, {**huge, "num_classes": 3, "position_grid": grid}, weights, 1.0, "c.pt"
            )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("a", torch.tensor([1.0, float("nan")]), "'a' with NaN, infinity or numbers beyond"),
        ("a", torch.tensor([-float("inf")]).half(), "'a' with NaN"),
        ("a", torch.tensor([1e30]), "'a' with NaN, infinity or numbers beyond"),
        ("a", torch.zeros(1).expand(10**6, 10**6), r"'a' of shape \(1000000, 1000000\) in 4 bytes, which are too few"),
        ("a", torch.ones(2).to_sparse(), "'a' as a torch.sparse_coo tensor"),
        ("a", torch.ones(2, device="meta"), "'a' as a torch.strided tensor on meta"),
        ("a", [1.0], "'a' with a list instead of a tensor"),
        (1, torch.ones(1), "1 with a Tensor"),
        (STATISTICS[1], torch.zeros(128), "'front_end.mel_std' with deviations below"),
        (STATISTICS[1], -torch.ones(128), "'front_end.mel_std' with deviations below"),
        (STATISTICS[0], torch.tensor([1.0, float("nan")]), "'front_end.mel_mean' with NaN"),
    ],
)
def test_what_cannot_be_weights_is_named(name, value, message):
    with pytest.raises(ValueError, match=f"c.pt: expected weights, found {message}"):
        check_tensors({"ok": torch.ones(2), name: value}, "c.pt")


def test_transposed_empty_integer_and_half_weights_are_weights_and_so_are_the_missing_statistics_of_images():
    nan = torch.full((128,), float("nan"))
    check_tensors(
        {"a": torch.ones(2, 3).T, "b": torch.ones(0), "c": torch.ones(2).bfloat16(), "d": torch.tensor(3)}, "c.pt"
    )
    check_tensors(dict.fromkeys(STATISTICS, nan), "c.pt")
