"""timm's own model, built by the arguments of `maskspec-export --timm`, gives our encoder's features."""

import json

import pytest
import torch
from safetensors.torch import load_file

from maskspec_fairseq.cli import export
from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.inference.export_folder import write_folder
from maskspec_fairseq.inference.export_timm import timm_arguments
from maskspec_fairseq.inference.load import load_model
from maskspec_fairseq.modules.sizes import SIZES
from tests.factories import MODEL_LABELS, noise, small_audio_model

RATE = 32000
VARIANTS = {
    "head": dict(labels=MODEL_LABELS),
    "CLS": dict(cls_token=True, pool="cls"),
    "norm after the pooling": dict(labels=MODEL_LABELS, cls_token=True, norm_after_pool=True),
    "rectangular patches": dict(patch_size=[16, 4]),
    "learned positions": dict(position_grid=[8, 10]),
    "another feed-forward network": dict(encoder_ffn_embed_dim=50),
}


def with_random_weights(model):
    """Biases, norms and learned positions, which begin as zeros, ones and sinusoids, could be mixed up unseen."""
    generator = torch.Generator().manual_seed(3)
    for parameter in model.network.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


def timm_model(directory):
    timm = pytest.importorskip("timm", reason="timm builds the model")
    model = timm.create_model(**json.loads((directory / "timm.json").read_text()))
    model.load_state_dict(load_file(directory / "timm.safetensors"), strict=True)
    return model.eval()


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@torch.inference_mode()
def test_timm_gives_our_features(tmp_path, variant):
    model = with_random_weights(small_audio_model(**{"labels": [], **variant}))
    write_folder(model, str(tmp_path / "m"))
    assert export.main(["--checkpoint", str(tmp_path / "m"), "--out", str(tmp_path / "n"), "--timm"]) == 0
    theirs = timm_model(tmp_path / "n")
    waveform = noise(RATE)
    log_mel = model.network.front_end(waveform)[:, None]  # (B, 1, F, S)
    expected = model(waveform, RATE)
    torch.testing.assert_close(
        theirs(log_mel), expected.embedding if expected.logits is None else expected.logits, atol=1e-5, rtol=1e-5
    )
    pooled = theirs.forward_head(theirs.forward_features(log_mel), pre_logits=True)
    torch.testing.assert_close(pooled, expected.embedding, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_our_sizes_are_timms(size):
    """By timm's name for them, without a word on widths and depths."""
    timm = pytest.importorskip("timm", reason="timm builds the model")
    encoder = {name: value for name, value in vars(SIZES[size]).items() if name.startswith("encoder_")}
    with torch.device("meta"):  # without memory
        model = AudioModel(encoder, clip_sec=10.0)
        arguments = timm_arguments(model)
        theirs = timm.create_model(**arguments)
    assert arguments == {
        "model_name": f"vit_{size}_patch16_224", "in_chans": 1, "img_size": [128, 992], "patch_size": [16, 16],
        "class_token": False, "global_pool": "avg", "fc_norm": False, "num_classes": 0,
    }  # fmt: skip
    ours = sum(parameter.numel() for parameter in model.network.encoder.parameters())
    positions = 8 * 62 * encoder["encoder_embed_dim"]  # ours are computed
    assert sum(parameter.numel() for parameter in theirs.parameters()) == ours + positions
    assert theirs.blocks[0].attn.num_heads == encoder["encoder_attention_heads"]


@pytest.mark.parametrize(
    "variant, readout, message",
    [
        (
            {"pool": "frequency+std"},
            [],
            "expected the pooling mean or cls, which timm has, found frequency+std; add",
        ),
        ({"labels": MODEL_LABELS, "head": "frames"}, [], "of clips for timm, found model.head=frames; add --pool mean"),
        ({}, ["--layers", "1,2"], "expected the last layer, 2, for timm, found the layers 1, 2; write another folder"),
    ],
)
def test_what_timm_does_not_have_is_refused_before_anything_is_written(tmp_path, capsys, variant, readout, message):
    write_folder(small_audio_model(**{"labels": [], **variant}), str(tmp_path / "m"))
    words = ["--checkpoint", str(tmp_path / "m"), "--out", str(tmp_path / "n"), "--timm", *readout]
    assert export.main(words) == 2 and not (tmp_path / "n").exists()
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    if not readout:  # the cure
        assert export.main([*words, "--pool", "mean"]) == 0
        model = load_model(str(tmp_path / "n"))
        found = timm_model(tmp_path / "n")(model.network.front_end(noise(RATE))[:, None])
        torch.testing.assert_close(found, model(noise(RATE), RATE).embedding, atol=1e-5, rtol=1e-5)
