"""Checkpointed blocks give the same gradients to the bit; what does not go with them is refused."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from maskspec_fairseq.models.maskspec import MaskSpecConfig
from maskspec_fairseq.modules.transformer import TransformerBlock
from maskspec_fairseq.tasks import transformer_blocks
from maskspec_fairseq.tasks.transformer_blocks import checkpoint_blocks
from tests.factories import SMALL_AUTOENCODER, noise, small_autoencoder
from tests.fairseq_factories import pretraining_task

KEYS = np.array([[1, 1, 0], [1, 1, 1]])


def gradients(model) -> dict:
    torch.manual_seed(3)  # of dropout
    model.train()(noise(32000), clip_key=KEYS)["prediction"].square().sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.stock
@pytest.mark.parametrize("attention", ["self", "cross"])
def test_checkpointed_blocks_have_the_same_names_and_gradients_to_the_bit(attention):
    settings = dict(dropout=0.1, drop_path=0.2, decoder_attention=attention)
    plain, checkpointed = small_autoencoder(**settings), small_autoencoder(**settings)
    checkpoint_blocks(checkpointed, compiled=False, amp=False)
    assert list(checkpointed.state_dict()) == list(plain.state_dict())
    expected, found = gradients(plain), gradients(checkpointed)
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_the_blocks_keep_their_inputs_alone():
    """What autograd saves in the forward pass, counted."""

    def saved(model) -> int:
        sizes = []

        def note(tensor):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            model(noise(32000), clip_key=KEYS)
        return sum(sizes)

    plain, checkpointed = small_autoencoder(), small_autoencoder()
    checkpoint_blocks(checkpointed, compiled=False, amp=False)
    assert saved(checkpointed) < 0.5 * saved(plain)


@pytest.mark.parametrize(
    "compiled, amp, message",
    [
        (True, False, "expected either task.compile=true or task.checkpoint_activations=true, found both; leave one"),
        (False, True, "expected common.fp16 or common.bf16 with task.checkpoint_activations=true, found common.amp"),
    ],
)
def test_what_the_wrapper_does_not_go_with_is_refused(compiled, amp, message):
    with pytest.raises(ValueError, match=message):
        checkpoint_blocks(small_autoencoder(), compiled, amp)


def test_frozen_parameters_are_refused():
    model = small_autoencoder()
    model.encoder.patch_embed.requires_grad_(False)
    message = "expected trained parameters alone with .*, found encoder.patch_embed.weight frozen; leave it out"
    with pytest.raises(ValueError, match=message):
        checkpoint_blocks(model, compiled=False, amp=False)


def test_a_task_wraps_the_blocks_of_new_models_alone(data_dir, monkeypatch):
    cfg = MaskSpecConfig(**SMALL_AUTOENCODER)
    cfg._name, cfg.sample_rate = "maskspec", 32000
    compiled = []
    monkeypatch.setattr(transformer_blocks, "check_compiler", lambda device: compiled.append(device.type))

    def blocks(from_checkpoint=False, **fields):
        model = pretraining_task(data_dir, **fields).build_model(OmegaConf.structured(cfg), from_checkpoint)
        found = [module for module in model.modules() if isinstance(module, TransformerBlock)]
        return [(block._compiled_call_impl is not None, "forward" in vars(block)) for block in found]

    assert set(blocks()) == {(False, False)} and not compiled
    assert set(blocks(compile=True)) == {(True, False)} and compiled == ["cpu"]
    assert set(blocks(checkpoint_activations=True)) == {(False, True)}
    for fields in ({"compile": True}, {"checkpoint_activations": True}):
        assert set(blocks(from_checkpoint=True, **fields)) == {(False, False)}
