"""The head on columns of patches."""

import pytest
import torch

from maskspec_fairseq.modules.classifier import SpectrogramClassifier
from maskspec_fairseq.modules.frame_head import pool_frames
from tests.factories import SMALL_ENCODER, noise, small_classifier


@pytest.mark.parametrize("pool", ["mean", "frequency"])
def test_each_column_is_classified_by_its_own_embedding(pool):
    model = small_classifier(head="frames", pool=pool).eval()
    waveform = noise(32000)
    logits = model(waveform)  # (B, M, C)
    columns = model.embed_columns(waveform)
    assert logits.shape == (2, 6, 5) and columns.shape == (2, 6, 32 * (8 if pool == "frequency" else 1))
    for column in range(6):
        assert torch.allclose(logits[:, column], model.head(columns[:, column]), atol=1e-6)
    assert torch.equal(pool_frames(logits), torch.stack([logits[:, :, n].max(dim=1).values for n in range(5)], dim=1))


def test_a_gradient_reaches_every_parameter_in_training():
    model = small_classifier(head="frames", spec_augment_frames=8).train()
    keys = torch.tensor([[1, 1, 0], [1, 1, 1]]).numpy()
    model(noise(32000), keys, noise(32000), torch.tensor([0.7, 0.6])).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(head="columns"), "expected model.head out of linear, frames, found 'columns'; choose one"),
        (dict(head="frames", pool="mean+max"), "for model.head=frames, found mean.max; choose one of them"),
        (dict(head="frames", pool="cls", cls_token=True), "for model.head=frames, found cls; choose one of them"),
        (dict(head="frames", patchout=0.5), "whole columns of patches .* found model.patchout=0.5; set it to 0"),
    ],
)
def test_what_leaves_no_columns_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SpectrogramClassifier(5, **SMALL_ENCODER, **arguments)
