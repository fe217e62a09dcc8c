"""Half precision: what only float32 can hold stays in it, and what comes out is near what float32 says."""

import copy

import numpy as np
import pytest
import torch

from maskspec_fairseq.modules.classifier import SpectrogramClassifier
from maskspec_fairseq.modules.losses import masked_spectrogram_loss, soft_cross_entropy
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder

TINY = dict(encoder_embed_dim=192, encoder_attention_heads=3, encoder_ffn_embed_dim=768)  # 12 layers, the paper's
DECODER = dict(decoder_embed_dim=128, decoder_layers=4, decoder_attention_heads=4, decoder_ffn_embed_dim=512)
KEYS = np.array([[1, 1, index] for index in range(4)])
# half and bf16 round to 11 and 8 bits: 5e-4 and 4e-3 a rounding, of which a layer has some ten
BOUNDS = {torch.float16: 0.015, torch.bfloat16: 0.12}


@pytest.fixture(scope="module")
def hard_clips() -> torch.Tensor:
    """A full-scale 24-bit square wave, digital silence, a tone on a DC offset, and noise; float32 (4, T)."""
    t = np.arange(32000) / 32000
    square = np.sign(np.sin(2 * np.pi * 100 * t)) * (2**23 - 1) / 2**23
    offset = 0.9 + 1e-3 * np.sin(2 * np.pi * 440 * t)
    noise = 0.1 * np.random.default_rng(0).standard_normal(len(t))
    return torch.tensor(np.stack([square, np.zeros(len(t)), offset, noise]), dtype=torch.float32)


def make(cls, **kwargs) -> torch.nn.Module:
    torch.manual_seed(0)
    model = cls(**TINY, **kwargs)
    model.front_end.set_statistics(np.full(128, -6.0), np.full(128, 3.0))
    return model


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize(
    "autocast", [pytest.param(False, id="converted"), pytest.param(True, id="autocast", marks=pytest.mark.slow)]
)
def test_loud_silent_and_offset_clips_give_finite_losses_and_gradients(hard_clips, dtype, autocast):
    model, classifier = make(MaskedAutoencoder, **DECODER), make(SpectrogramClassifier, num_classes=5)
    if not autocast:
        model, classifier = model.to(dtype), classifier.to(dtype)
    with torch.autocast("cpu", dtype=dtype, enabled=autocast):
        output = model(hard_clips, clip_key=KEYS)
        logits = classifier(hard_clips).float()
        loss, size = masked_spectrogram_loss(output["prediction"], output["target"], output["scored"])
        labels = torch.eye(5)[:4]
        other_loss, _ = soft_cross_entropy(logits, labels, torch.ones(4, 5, dtype=torch.bool))
    assert output["prediction"].dtype == dtype and output["target"].dtype == loss.dtype == torch.float32
    (loss / size + other_loss).backward()
    for part in (output["target"], output["prediction"], logits, loss, other_loss):
        assert torch.isfinite(part).all()
    for parameter in [*model.parameters(), *classifier.parameters()]:
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("dtype", BOUNDS)
@torch.no_grad()
def test_outputs_of_twelve_layers_are_near_those_of_float32(hard_clips, dtype):
    model, classifier = make(MaskedAutoencoder, **DECODER), make(SpectrogramClassifier, num_classes=5)
    torch.nn.init.normal_(classifier.head.weight, std=0.05)
    expected, expected_logits = model(hard_clips, clip_key=KEYS), classifier(hard_clips)
    half, half_classifier = copy.deepcopy(model).to(dtype), copy.deepcopy(classifier).to(dtype)
    found, logits = half(hard_clips, clip_key=KEYS), half_classifier(hard_clips)
    assert torch.equal(expected["target"], found["target"])  # of the front end, which stays in float32
    for ours, theirs in [(found["prediction"], expected["prediction"]), (logits, expected_logits)]:
        difference = (ours.float() - theirs).abs().max() / theirs.std()
        assert 0 < difference < BOUNDS[dtype]
