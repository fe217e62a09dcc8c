"""Image transformers: what timm's makes of a spectrogram as three equal colours, ours makes of the spectrogram."""

import numpy as np
import pytest
import torch

from maskspec_fairseq.cli.convert import main
from maskspec_fairseq.inference.load import load_model
from tests.factories import load_classifier
from tests.fairseq_factories import classifier_config, finetuning_task
from tests.unit.conversion.originals import BLOCKS, HEADS, WIDTH, VisionTransformer, randomise, timm

MEAN, STD = np.linspace(-9, -5, 128), np.linspace(1, 3, 128)


def image_model(**kwargs) -> VisionTransformer:
    cfg = dict(img_size=224, embed_dim=WIDTH, depth=BLOCKS, num_heads=HEADS, num_classes=10)
    model = randomise(VisionTransformer(**{**cfg, **kwargs}))
    model.pos_embed.data.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    return model


def converted(path, out) -> str:
    assert main([str(path), "--out", str(out)]) == 0
    return str(out)


def over_audio(positions: torch.Tensor, tokens: int) -> torch.Tensor:
    """timm's own resampling of positions to 8 x 62, without its low-pass."""
    resample = timm.layers.resample_abs_pos_embed
    return resample(positions, [8, 62], num_prefix_tokens=tokens, antialias=False)


@pytest.mark.parametrize("global_pool", ["token", "avg"])
@pytest.mark.parametrize("nested, qkv_bias", [(False, True), (True, True), (False, False)])
def test_the_encoder_is_timms(tmp_path, capsys, global_pool, nested, qkv_bias):
    original = image_model(global_pool=global_pool, qkv_bias=qkv_bias)
    state = original.state_dict()
    torch.save({"model": state} if nested else state, tmp_path / "vit.pth")
    model, cfg = load_classifier(converted(tmp_path / "vit.pth", tmp_path / "out.pt"))
    assert cfg["model"]["position_grid"] == [8, 62] and cfg["model"]["front_end"] == "paper"
    assert cfg["model"]["norm_after_pool"] is (global_pool == "avg")
    assert "'model.position_grid=[8,62]'" in capsys.readouterr().out
    model.front_end.set_statistics(MEAN, STD)
    waveform = 0.1 * torch.randn(2, 320000, generator=torch.Generator().manual_seed(0))
    audio = image_model(global_pool=global_pool, img_size=(128, 992), qkv_bias=qkv_bias)
    audio.load_state_dict({**state, "pos_embed": over_audio(state["pos_embed"], 1)})
    with torch.no_grad():
        image = model.front_end(waveform)[:, None].expand(-1, 3, -1, -1)
        tokens = audio.forward_features(image)[:, 1:].mean(1)
        expected = audio.fc_norm(tokens) if global_pool == "avg" else tokens
        assert expected.std() > 0.1 and (model(waveform) - expected).abs().max() < 1e-4


def test_deits_distillation_token_stays_behind(tmp_path):
    import timm.models.deit

    original = timm.models.deit.VisionTransformerDistilled(
        img_size=224, embed_dim=WIDTH, depth=BLOCKS, num_heads=HEADS, num_classes=10
    )
    randomise(original).pos_embed.data.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    state = original.state_dict()
    assert state["pos_embed"].shape[1] == 198
    torch.save({"model": state}, tmp_path / "deit.pth")
    model, _ = load_classifier(converted(tmp_path / "deit.pth", tmp_path / "out.pt"))
    weights = model.encoder.state_dict()
    assert torch.equal(weights["cls_token"], state["cls_token"] + state["pos_embed"][:, :1])
    expected = over_audio(state["pos_embed"][:, 2:], 0)
    assert torch.allclose(weights["learned_positions"].view(1, 496, WIDTH), expected, atol=1e-5)


def test_safetensors_are_read(tmp_path):
    from safetensors.torch import save_file

    original = image_model()
    torch.save(original.state_dict(), tmp_path / "vit.pth")
    save_file(original.state_dict(), tmp_path / "vit.safetensors")
    states = [
        torch.load(converted(tmp_path / name, tmp_path / f"{name}.pt"), weights_only=True)["model"]
        for name in ("vit.pth", "vit.safetensors")
    ]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]) or name.startswith("front_end.")


def test_the_decoder_of_an_mae_stays_behind(tmp_path):
    state = image_model().state_dict()
    decoder = {"mask_token": torch.zeros(1, 1, 64), "decoder_pos_embed": torch.zeros(1, 197, 64)}
    torch.save({"model": {**state, **decoder, "decoder_embed.weight": torch.zeros(64, WIDTH)}}, tmp_path / "mae.pth")
    model, _ = load_classifier(converted(tmp_path / "mae.pth", tmp_path / "out.pt"))
    assert torch.equal(model.encoder.blocks[1].attn.qkv.bias, state["blocks.1.attn.qkv.bias"])


def test_finetuning_starts_with_the_statistics_of_its_data(tmp_path, folds, caplog):
    torch.save(image_model().state_dict(), tmp_path / "vit.pth")
    path = converted(tmp_path / "vit.pth", tmp_path / "out.pt")
    cfg = dict(
        encoder_embed_dim=WIDTH, encoder_layers=BLOCKS, encoder_attention_heads=HEADS, encoder_ffn_embed_dim=4 * WIDTH,
    )  # fmt: skip
    scratch = finetuning_task(folds, fold=1).build_model(classifier_config(**cfg))
    with pytest.raises(ValueError, match=r"\(cls_token: expected False, found True; position_grid: expected \[\],"):
        finetuning_task(folds, fold=1).build_model(classifier_config(pretrained=path, **cfg))
    with caplog.at_level("INFO"):
        model = finetuning_task(folds, fold=1).build_model(
            classifier_config(pretrained=path, cls_token=True, position_grid=[8, 62], **cfg)
        )
    assert "starting from encoder, without statistics, of maskspec_classifier" in caplog.text
    assert torch.equal(model.front_end.mel_mean, scratch.front_end.mel_mean)
    assert torch.equal(model.front_end.mel_std, scratch.front_end.mel_std)
    weights = torch.load(path, weights_only=True)["model"]
    assert torch.equal(model.encoder.learned_positions, weights["encoder.learned_positions"])
    assert model(0.1 * torch.randn(1, 32000)).isfinite().all()


def test_a_model_without_statistics_is_no_model_to_use(tmp_path):
    torch.save(image_model().state_dict(), tmp_path / "vit.pth")
    path = converted(tmp_path / "vit.pth", tmp_path / "out.pt")
    with pytest.raises(ValueError, match="out.pt: expected the statistics of the log-mel, found none, .* finetune"):
        load_model(path)


def test_a_transformer_of_grey_images_is_converted_where_the_user_says_so(tmp_path, capsys):
    torch.save(image_model(in_chans=1, img_size=256).state_dict(), tmp_path / "grey.pth")
    arguments = [str(tmp_path / "grey.pth"), "--out", str(tmp_path / "out.pt")]
    assert main(arguments) == 2
    assert "found a similarity of " in capsys.readouterr().err
    assert main([*arguments, "--layout", "image"]) == 0
    assert "an image transformer (its encoder): 2 blocks" in capsys.readouterr().out
