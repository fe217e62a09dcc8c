import numpy as np
import pytest
import torch

from maskspec_fairseq.checkpoints.read import load_autoencoder
from maskspec_fairseq.cli import reconstruct
from maskspec_fairseq.modules.masking import random_masking
from maskspec_fairseq.modules.patches import patchify
from tests.factories import SMALL_AUTOENCODER, small_autoencoder, write_tone


@pytest.fixture(params=[False, True], ids=["plain", "norm_pix"])
def model(request):
    return small_autoencoder(norm_pix_loss=request.param).eval()


def save(model, path, name="maskspec"):
    cfg = dict(
        SMALL_AUTOENCODER, _name=name, front_end="paper", sample_rate=32000, mel_jitter=False, patch_size=16,
        mask_ratio=0.75, cls_token=False, dropout=0.0, drop_path=0.0, norm_pix_loss=model.norm_pix_loss,
    )  # fmt: skip
    torch.save({"model": model.state_dict(), "cfg": {"model": cfg, "task": {"clip_sec": 1.0, "channel": "mix"}}}, path)
    return str(path)


def test_checkpoint_comes_back_as_the_model(model, tmp_path):
    loaded, cfg = load_autoencoder(save(model, tmp_path / "c.pt"))
    waveform, keys = torch.randn(1, 32000), np.array([[1, 0, 0]])
    assert torch.equal(loaded(waveform, clip_key=keys)["prediction"], model(waveform, clip_key=keys)["prediction"])
    assert not loaded.training and cfg["task"]["clip_sec"] == 1.0


def test_reconstruction_is_in_decibels_with_the_visible_patches_untouched(model):
    waveform = 0.1 * torch.randn(32000)
    result = reconstruct.reconstruct(model, waveform, 32000, mask_ratio=0.5, seed=3)
    hidden = np.isnan(result.masked)
    expected = 10 / np.log(10) * model.front_end.log_mel(waveform[None])[0].numpy()
    np.testing.assert_allclose(result.original, expected, atol=1e-3)
    np.testing.assert_allclose(result.restored[~hidden], expected[~hidden], atol=1e-3)
    assert hidden.mean() == 0.5 and np.isfinite(result.restored).all()
    assert np.abs(result.restored[hidden] - expected[hidden]).max() > 1


def test_a_perfect_prediction_restores_the_clip(model, monkeypatch):
    """Units, statistics and norm_pix are undone: what the decoder ought to say gives the original."""
    waveform = 0.1 * torch.randn(32000)
    mask = random_masking(np.array([[3, 0, 0]]), 48, 0.75)
    patches = patchify(model.front_end(waveform[None]), 16)
    truth = model.normalise_target(patches[mask].view(1, 36, 256))
    monkeypatch.setattr(model.decoder, "forward", lambda *args: truth)
    result = reconstruct.reconstruct(model, waveform, 32000, mask_ratio=0.75, seed=3)
    np.testing.assert_allclose(result.restored, result.original, atol=1e-2)
    assert result.loss == pytest.approx(0, abs=1e-9) and result.baseline_loss > 0.1


def test_picture_is_written(model, tmp_path, capsys):
    audio = write_tone(tmp_path / "a clip.wav", 2.0, 44100)
    out = tmp_path / "r.png"
    assert reconstruct.main([str(audio), "--checkpoint", save(model, tmp_path / "c.pt"), "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG") and "loss" in capsys.readouterr().out


def test_what_cannot_be_reconstructed_is_refused(model, tmp_path, capsys):
    audio = str(write_tone(tmp_path / "a.wav", 2.0))
    for checkpoint, sound, message in [
        (save(model, tmp_path / "other.pt", name="hubert"), audio, "of the model 'maskspec', found 'hubert'"),
        (str(tmp_path / "none.pt"), audio, "found no such file"),
        (audio, audio, "a.wav: expected a checkpoint of a maskspec run, found:"),
        (pickled(tmp_path / "code.pt"), audio, "code.pt: expected a checkpoint of a maskspec run, found:"),
        (save(model, tmp_path / "c.pt"), str(tmp_path / "none.wav"), "expected audio that soundfile decodes"),
    ]:
        assert reconstruct.main([sound, "--checkpoint", checkpoint, "--out", str(tmp_path / "r.png")]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "r.png").exists()
    good = [audio, "--checkpoint", str(tmp_path / "c.pt")]
    for arguments, message in [
        (["--out", str(tmp_path / "no" / "r.png")], "No such file or directory"),
        (["--mask-ratio", "0", "--out", str(tmp_path / "r.png")], r"expected mask_ratio in [0.05, 0.95], found 0.0"),
        (["--clip-sec", "0.1", "--out", str(tmp_path / "r.png")], "expected clips of at least 16 frames"),
    ]:
        assert reconstruct.main([*good, *arguments]) == 1
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        reconstruct.main([*good, "--clip-sec", "0"])
    assert "expected seconds above 0, found 0" in capsys.readouterr().err
    assert not (tmp_path / "r.png").exists()


def pickled(path):
    """A file of torch.save with more than data in it."""
    torch.save({"cfg": {"model": {"_name": "maskspec"}}, "run": print}, path)
    return str(path)
