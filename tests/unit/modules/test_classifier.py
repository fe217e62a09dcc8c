import numpy as np
import pytest
import torch

from maskspec_fairseq.clip_rng import PATCHOUT
from maskspec_fairseq.modules.classifier import SpectrogramClassifier
from maskspec_fairseq.modules.float32_bits import to_bits
from maskspec_fairseq.modules.masking import random_masking
from maskspec_fairseq.modules.patches import patchify
from maskspec_fairseq.modules.pooling import ATTENTION, POOLS
from maskspec_fairseq.modules.positions import sincos_positions
from maskspec_fairseq.modules.spec_augment import spec_augment
from tests.factories import SMALL_ENCODER, small_classifier

KEYS = np.array([[1, 1, 0], [1, 1, 1]])


@pytest.fixture(scope="module")
def waveform() -> torch.Tensor:
    return 0.1 * torch.randn(2, 32000, generator=torch.Generator().manual_seed(0))


def plain_tokens(model, spectrogram):
    """All patches through the encoder, written out."""
    tokens = model.encoder.patch_embed(patchify(spectrogram, 16)) + sincos_positions(8, 6, 32)
    if model.encoder.cls_token is not None:
        tokens = torch.cat([model.encoder.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
    for block in model.encoder.blocks:
        tokens = block(tokens)
    return tokens


@pytest.mark.parametrize(
    "kwargs",
    [dict(), dict(cls_token=True), dict(cls_token=True, pool="cls"), dict(norm_after_pool=True, cls_token=True)],
    ids=["mean", "mean without cls", "cls", "norm after"],
)
def test_pools_what_it_says(waveform, kwargs):
    model = small_classifier(**kwargs).eval()
    tokens = plain_tokens(model, model.front_end(waveform))
    if model.pool_norm is None:
        tokens = model.encoder.norm(tokens)
    pooled = tokens[:, 0] if kwargs.get("pool") == "cls" else tokens[:, 1 if "cls_token" in kwargs else 0 :].mean(1)
    if model.pool_norm is not None:
        pooled = model.pool_norm(pooled)
    assert torch.allclose(model(waveform), pooled @ model.head.weight.T + model.head.bias, atol=1e-5)


def test_training_draws_depend_on_the_clip_alone_and_validation_has_none(waveform):
    kwargs = dict(spec_augment_bins=40, spec_augment_frames=40, patchout=0.4)
    model, plain = small_classifier(**kwargs), small_classifier()
    both = model.train()(waveform, KEYS)
    assert torch.allclose(model(waveform[1:], KEYS[1:]), both[1:], atol=1e-5)
    assert not torch.allclose(model(waveform, KEYS + [0, 1, 0]), both, atol=1e-4)
    assert torch.equal(model.eval()(waveform), plain.eval()(waveform))


def test_patchout_leaves_a_share_of_the_patches_out(waveform):
    model = small_classifier(patchout=0.4).train()
    hidden = random_masking(KEYS, 48, 0.4, stream=PATCHOUT)
    assert hidden.sum(1).tolist() == [19, 19]
    spectrogram = model.front_end(waveform)
    tokens = model.encoder.patch_embed(patchify(spectrogram, 16)) + sincos_positions(8, 6, 32)
    for clip, row in enumerate(hidden):
        kept = model.encoder.run_blocks(tokens[clip : clip + 1, ~row])
        expected = model.head(kept.mean(1))[0]
        assert torch.allclose(model(waveform, KEYS)[clip], expected, atol=1e-5)


@pytest.mark.parametrize("patchout", [0.4, 0.9])
def test_rows_are_pooled_over_the_patches_that_patchout_leaves(waveform, patchout):
    model = small_classifier(patchout=patchout, pool="frequency+max").train()
    hidden = random_masking(KEYS, 48, patchout, stream=PATCHOUT)
    tokens = model.encoder.patch_embed(patchify(model.front_end(waveform), 16)) + sincos_positions(8, 6, 32)
    for clip, row in enumerate(hidden):
        kept = model.encoder.run_blocks(tokens[clip : clip + 1, ~row])[0]
        rows = [kept[torch.arange(48)[~row] // 6 == number] for number in range(8)]
        means = [part.mean(0) if len(part) else torch.zeros(32) for part in rows]
        maxima = [part.amax(0) if len(part) else torch.zeros(32) for part in rows]
        assert torch.allclose(model(waveform, KEYS)[clip], model.head(torch.cat([*means, *maxima])), atol=1e-5)


def test_attention_is_over_the_patches_that_patchout_leaves_and_not_over_the_cls_token(waveform):
    model = small_classifier(pool=ATTENTION, cls_token=True, patchout=0.4).train()
    torch.nn.init.normal_(model.attention_pool.query)
    tokens = model.encoder.norm(plain_tokens(model, model.front_end(waveform)))[:, 1:]
    expected = model.head(model.attention_pool(tokens)[:, 0])
    assert torch.allclose(model.eval()(waveform), expected, atol=1e-5)
    columns = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])  # (B, M)
    held = model.embed(waveform, counted=columns)
    first = model.attention_pool(tokens.view(2, 8, 6, 32)[1:, :, :2].flatten(1, 2))[:, 0]
    assert torch.allclose(held, torch.cat([model.attention_pool(tokens)[:1, 0], first]), atol=1e-5)

    hidden = random_masking(KEYS, 48, 0.4, stream=PATCHOUT)
    tokens = model.encoder.patch_embed(patchify(model.front_end(waveform), 16)) + sincos_positions(8, 6, 32)
    model.train()
    for clip, row in enumerate(hidden):
        kept = model.encoder.run_blocks(torch.cat([model.encoder.cls_token, tokens[clip : clip + 1, ~row]], dim=1))
        expected = model.head(model.attention_pool(kept[:, 1:])[0, 0])
        assert torch.allclose(model(waveform, KEYS)[clip], expected, atol=1e-5)


def test_columns_are_means_under_attention_pooling(waveform):
    attention, mean = small_classifier(pool=ATTENTION).eval(), small_classifier().eval()
    mean.load_state_dict({name: value for name, value in attention.state_dict().items() if name in mean.state_dict()})
    assert attention.embedding_dim == attention.column_dim == 32
    assert torch.equal(attention.embed_columns(waveform), mean.embed_columns(waveform))


@pytest.mark.parametrize("pool", [*POOLS, ATTENTION])
def test_every_pooling_trains_with_patchout_even_on_a_single_column(pool):
    model = small_classifier(pool=pool, cls_token=True, norm_after_pool=True, patchout=0.4).train()
    logits = model(0.1 * torch.randn(2, 5120, generator=torch.Generator().manual_seed(0)), KEYS)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())
    assert model.head.weight.grad.abs().sum() > 0 and model.encoder.patch_embed.weight.grad.abs().sum() > 0


def test_log_mels_are_mixed_before_specaugment(waveform):
    model = small_classifier(spec_augment_bins=64, spec_augment_frames=64).train()
    ratio = torch.tensor([0.7, 1.0], dtype=torch.float64)
    other = waveform.flip(0)
    mixed = model(to_bits(waveform), KEYS, mix_waveform=to_bits(other), mix_ratio=ratio)
    weight = ratio.float()[:, None, None]
    spectrogram = weight * model.front_end(waveform) + (1 - weight) * model.front_end(other)
    spectrogram = spec_augment(spectrogram, KEYS, 64, 64, torch.zeros(128))  # the mean
    expected = model.head(model.encoder.norm(plain_tokens(model, spectrogram)).mean(1))
    assert torch.allclose(mixed, expected, atol=1e-5)
    assert torch.allclose(mixed[1], model(waveform, KEYS)[1], atol=1e-5)


def test_the_reference_front_end_hides_a_log_power_of_0_before_normalisation_and_mixing(waveform):
    """As in the released code, where the clips of a mix have one mask."""
    model = small_classifier(front_end="reference", spec_augment_bins=64, spec_augment_frames=64).train()
    mean, std = torch.linspace(-1, 0, 128), torch.linspace(0.5, 1, 128)
    model.front_end.set_statistics(mean, std)
    hidden = spec_augment(torch.ones(2, 128, 96), KEYS, 64, 64, torch.zeros(128)) == 0
    assert hidden.any(dim=2).any(dim=1).all() and not hidden.all()
    spectrograms = []
    for clips in (waveform, waveform.flip(0)):
        log_power = model.front_end.log_mel(clips) * 5.0 - 4.5
        log_mel = (log_power.masked_fill(hidden, 0) + 4.5) / 5.0
        spectrograms.append((log_mel - mean[:, None]) / std[:, None])
    ratio = torch.tensor([0.7, 0.5])
    weight = ratio[:, None, None]
    tokens = plain_tokens(model, weight * spectrograms[0] + (1 - weight) * spectrograms[1])
    mixed = model(waveform, KEYS, mix_waveform=waveform.flip(0), mix_ratio=ratio)
    assert torch.allclose(mixed, model.head(model.encoder.norm(tokens).mean(1)), atol=1e-4)


def test_first_predictions_are_all_but_uniform(waveform):
    model = SpectrogramClassifier(7, **SMALL_ENCODER)
    assert model(waveform).softmax(1).sub(1 / 7).abs().max() < 1e-3


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (
            dict(pool="max"),
            r"a pooling \(model.pool, --pool\) out of mean, .*\+std, attention, found 'max'; choose one",
        ),
        (
            dict(pool="cls+max"),
            r"CLS token for the pooling cls\+max, found one without; choose mean .*cls_token=true",
        ),
        (dict(patchout=1.0), "expected model.patchout from 0 to below 1, found 1.0"),
        (dict(patch_size=10), "a patch size that divides 128 mel bins, found 10"),
        (dict(patch_size=[80, 4]), "divides 128 mel bins, found 80 x 4 .*, or another model.front_end"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SpectrogramClassifier(5, **{**SMALL_ENCODER, **kwargs})


@pytest.mark.parametrize("kwargs, use", [(dict(spec_augment_bins=8), "SpecAugment"), (dict(patchout=0.4), "patchout")])
def test_draws_of_training_need_keys(waveform, kwargs, use):
    with pytest.raises(ValueError, match=f"expected the clips' keys .* for {use} in training, found none"):
        small_classifier(**kwargs).train()(waveform)


def test_mixing_needs_a_ratio(waveform):
    with pytest.raises(ValueError, match="expected mix_ratio with mix_waveform, found none"):
        small_classifier()(waveform, mix_waveform=waveform)
