"""AudioMAE's files, of random weights: image of time x mel there, of mel x time here."""

import numpy as np
import pytest
import torch

from maskspec_fairseq.cli.convert import main
from maskspec_fairseq.inference.load import load_model
from tests.factories import audiomae_input, load_classifier
from tests.fairseq_factories import classifier_config, finetuning_task
from tests.unit.conversion.originals import Mae, finetuned, randomise

SAMPLES = 163840  # 10.24 s at 16 kHz


@pytest.fixture(scope="module")
def waveform() -> torch.Tensor:
    noise = torch.randn(2, SAMPLES, generator=torch.Generator().manual_seed(0))
    return 0.1 * noise * torch.linspace(0.1, 1, SAMPLES)


@pytest.fixture(scope="module")
def image(waveform) -> torch.Tensor:
    """(B, 1, 1024, 128), by torchaudio."""
    return torch.from_numpy(np.stack([audiomae_input(clip, 1024) for clip in waveform.numpy()]))[:, None].float()


def converted(tmp_path, weights) -> str:
    torch.save({"model": weights, "epoch": 32}, tmp_path / "audiomae.pth")
    assert main([str(tmp_path / "audiomae.pth"), "--out", str(tmp_path / "out.pt")]) == 0
    return str(tmp_path / "out.pt")


def test_the_pretrained_encoder_gives_audiomaes_tokens(tmp_path, waveform, image, capsys):
    original = randomise(Mae((64, 8)))
    # its decoder of windows has weights that no other layout has
    weights = {**original.state_dict(), "decoder_blocks.0.attn.relative_position_index": torch.zeros(4, 4).long()}
    path = converted(tmp_path, weights)
    assert "AudioMAE, pretraining (its encoder): 2 blocks of width 192" in capsys.readouterr().out
    model, cfg = load_classifier(path)
    assert cfg["task"]["sample_rate"] == 16000 and cfg["task"]["clip_sec"] == 10.24
    mask = torch.zeros(2, 512, dtype=torch.bool)
    with torch.no_grad():
        expected = original.encode(image, mask)[:, 1:]  # time first
        columns = model.embed_columns(waveform)
        assert expected.std() > 0.1
        assert (columns - expected.view(2, 64, 8, -1).mean(2)).abs().max() < 1e-4
        assert (load_model(path)(waveform, 16000).embedding - expected.mean(1)).abs().max() < 1e-4


def test_a_finetuned_file_gives_audiomaes_logits(tmp_path, waveform, image):
    original = finetuned((64, 8), 527, noise=0.0)
    path = converted(tmp_path, original.state_dict())
    model, cfg = load_classifier(path)
    assert cfg["task"]["target_is_multilabel"] and cfg["model"]["norm_after_pool"]
    with torch.no_grad():
        expected = original(image)
        assert expected.std() > 0.1 and (model(waveform) - expected).abs().max() < 1e-4


def test_finetuning_starts_from_it_with_its_own_statistics(tmp_path, folds):
    path = converted(tmp_path, randomise(Mae((64, 8))).state_dict())
    cfg = classifier_config(
        pretrained=path, front_end="audiomae", encoder_embed_dim=192, encoder_attention_heads=3,
        encoder_ffn_embed_dim=768, cls_token=True, position_grid=[8, 64],
    )  # fmt: skip
    cfg.sample_rate = 16000
    model = finetuning_task(folds, fold=1, sample_rate=16000).build_model(cfg)
    assert torch.equal(model.front_end.mel_mean, torch.full((128,), -4.2677393))
    assert torch.equal(model.front_end.mel_std, torch.full((128,), 2 * 4.5689974))
    assert model(0.1 * torch.randn(1, 16000)).isfinite().all()
