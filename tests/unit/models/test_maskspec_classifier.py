import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from maskspec_fairseq.models.maskspec_classifier import MaskSpecClassifierModel, layer_of
from tests.fairseq_factories import classifier_config, finetuning_task

WAVEFORM = 0.1 * torch.randn(2, 32000, generator=torch.Generator().manual_seed(0))
KEYS = np.array([[1, 1, 0], [1, 1, 1]])
DRAWS = dict(dropout=0.5, drop_path=0.9)


def build(**kwargs) -> MaskSpecClassifierModel:
    torch.manual_seed(0)
    model = MaskSpecClassifierModel.build_model(classifier_config(num_classes=3, **kwargs))
    model.front_end.set_statistics([-5.0] * 128, [3.0] * 128)
    return model


def outputs_of_blocks(model):
    """What each block gives in a forward pass."""
    found: list = []
    model.encoder(torch.randn(2, 48, 256, generator=torch.Generator().manual_seed(0)), None, (8, 6), KEYS, found)
    return found


def test_a_frozen_encoder_draws_nothing_in_training():
    model = build(freeze_encoder=True, **DRAWS).train()
    assert model.training and not any(module.training for module in model.encoder.modules())
    for training, validating in zip(outputs_of_blocks(model), outputs_of_blocks(model.eval())):
        assert torch.equal(training, validating)


def test_frozen_blocks_draw_nothing_and_the_others_as_ever():
    model, whole = build(trainable_layers=1, **DRAWS), build(**DRAWS)
    assert [block.training for block in model.encoder.blocks] == [False, True]
    (first, last), (_, other) = outputs_of_blocks(model), outputs_of_blocks(whole)
    expected_first, expected_last = outputs_of_blocks(model.eval())
    assert torch.equal(first, expected_first) and not torch.equal(last, expected_last)
    assert not torch.equal(other, last)  # of which the first block drops something, too


def test_stochastic_depth_is_off_in_frozen_blocks():
    """In the first of three blocks it is off anyway, in the second it would be at half of the last one's rate."""
    model = build(encoder_layers=3, trainable_layers=1, drop_path=0.99)
    assert torch.equal(outputs_of_blocks(model)[1], outputs_of_blocks(model.eval())[1])
    whole = build(encoder_layers=3, drop_path=0.99)
    assert not torch.equal(outputs_of_blocks(whole)[1], outputs_of_blocks(whole.eval())[1])


def test_the_encoder_trains_from_the_update_that_is_named():
    model = build(freeze_updates=3, **DRAWS)
    assert all(parameter.requires_grad for parameter in model.parameters())  # so that the optimizer knows them
    for num_updates, frozen in ((0, True), (2, True), (3, False), (7, False), (1, True)):  # the last one resumes
        model.train()
        model.set_num_updates(num_updates)
        model.zero_grad()
        model(WAVEFORM, KEYS).square().sum().backward()
        assert model.head.weight.grad is not None
        assert {parameter.grad is None for parameter in model.encoder.parameters()} == {frozen}
        assert model.encoder.training is not frozen and model.head.training
    model.eval()
    model.set_num_updates(7)
    assert not model.encoder.training


def test_a_model_without_frozen_parts_has_gradients_everywhere():
    model = build()
    model.set_num_updates(0)
    model(WAVEFORM, KEYS).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    "kwargs, match",
    [
        (dict(freeze_encoder=True, freeze_updates=5), "found 5; set model.freeze_encoder=false"),
        (dict(trainable_layers=3), "expected model.trainable_layers from 1 to 2"),
        (dict(freeze_updates=-1), "model: expected freeze_updates to be a whole number from 0 to .* found -1"),
    ],
)
def test_what_cannot_be_frozen_is_refused(kwargs, match):
    with pytest.raises(ValueError, match=match):
        build(**kwargs)


def test_a_checkpoint_of_before_freezing_is_built_by_fairseq():
    cfg = OmegaConf.to_container(classifier_config(num_classes=2))
    old = {name: value for name, value in cfg.items() if not name.startswith(("freeze_", "trainable_"))}
    assert len(old) == len(cfg) - 3
    model = finetuning_task("/nowhere").build_model(OmegaConf.create(old), from_checkpoint=True)
    assert not model.encoder_is_frozen and all(parameter.requires_grad for parameter in model.parameters())


def test_attention_pooling_learns_like_the_head():
    model = build(pool="attention")
    layers = {name: layer_of(name, 2) for name, _ in model.named_parameters() if not name.startswith("encoder.")}
    assert set(layers.values()) == {3} and "attention_pool.query" in layers
