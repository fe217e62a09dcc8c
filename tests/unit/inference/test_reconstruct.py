import numpy as np
import pytest
import scipy.signal
import torch

from maskspec_fairseq.checkpoints.read import load_autoencoder
from maskspec_fairseq.inference.reconstruct import check_invertible, reconstruct, to_waveform
from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.modules.masking import random_masking
from maskspec_fairseq.modules.patches import patchify
from tests.factories import pretraining_cfg, save_checkpoint, small_autoencoder


@pytest.fixture(
    params=[dict(), dict(norm_pix_loss=True), dict(decoder_share=0.25)], ids=["plain", "norm_pix", "decoder_share"]
)
def model(request):
    return small_autoencoder(**request.param).eval()


def test_checkpoint_comes_back_as_the_model(model, tmp_path):
    cfg = pretraining_cfg(norm_pix_loss=model.norm_pix_loss)
    loaded, _ = load_autoencoder(save_checkpoint(tmp_path / "c.pt", model, cfg))
    waveform, keys = torch.randn(1, 32000), np.array([[1, 0, 0]])
    assert torch.equal(loaded(waveform, clip_key=keys)["prediction"], model(waveform, clip_key=keys)["prediction"])
    assert not loaded.training


def test_reconstruction_is_in_decibels_with_the_visible_patches_untouched(model):
    waveform = 0.1 * torch.randn(32000)
    result = reconstruct(model, waveform, 32000, mask_ratio=0.5, seed=3)
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
    result = reconstruct(model, waveform, 32000, mask_ratio=0.75, seed=3)
    np.testing.assert_allclose(result.restored, result.original, atol=1e-2)
    assert result.loss == pytest.approx(0, abs=1e-9) and result.baseline_loss > 0.1


def chirp(rate: int, hz: float) -> torch.Tensor:
    """2 s from 200 Hz to hz in noise 40 dB below it."""
    t = np.arange(2 * rate) / rate
    noise = 0.003 * np.random.default_rng(0).standard_normal(len(t))
    return torch.tensor(0.3 * scipy.signal.chirp(t, 200, 2, hz) + noise, dtype=torch.float32)


def decibels(front_end: LogMel, waveform: torch.Tensor) -> np.ndarray:
    return front_end.to_decibels(front_end(waveform[None]))[0].numpy()


@pytest.mark.parametrize(
    "name, rate, hz", [("paper", 32000, 8000), ("reference", 32000, 8000), ("narrowband", 8000, 3000)]
)
def test_the_sound_of_a_log_mel_has_that_log_mel(name, rate, hz):
    front_end = LogMel(name, rate)
    expected = decibels(front_end, chirp(rate, hz))
    sound = to_waveform(front_end, expected)
    frames = expected.shape[1]
    assert sound.dtype == np.float32 and sound.shape == ((frames - 1) * front_end.hop_length,)
    found = decibels(front_end, torch.from_numpy(np.pad(sound, (0, front_end.hop_length))))[:, :frames]
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.85
    # the chirp is where it was, to a mel bin or two, and as loud
    assert np.abs(found.argmax(0) - expected.argmax(0))[8:-8].max() <= 3
    assert np.median(np.abs(found.max(0) - expected.max(0))) < 3


def test_hidden_patches_are_silent_and_the_rest_is_heard():
    front_end = LogMel()
    spectrogram = decibels(front_end, 0.1 * torch.randn(64000, generator=torch.Generator().manual_seed(0)))
    spectrogram[:, 96:] = np.nan
    sound = to_waveform(front_end, spectrogram)
    heard, silent = sound[: 90 * 320], sound[102 * 320 :]
    assert heard.std() == pytest.approx(0.1, rel=0.5) and np.abs(silent).max() < 1e-3


def test_a_spectrogram_always_sounds_the_same():
    front_end = LogMel("narrowband", 8000)
    spectrogram = decibels(front_end, chirp(8000, 3000))
    state = torch.random.get_rng_state()
    first = to_waveform(front_end, spectrogram)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.randn(5)
    assert np.array_equal(to_waveform(front_end, spectrogram), first)


def test_kaldis_framing_is_refused():
    front_end = LogMel("audiomae", 16000)
    with pytest.raises(ValueError, match="a front end with centred frames .*, found 'audiomae' .*; leave --wav out"):
        check_invertible(front_end)
    with pytest.raises(ValueError, match="found 'audiomae'"):
        to_waveform(front_end, np.zeros((128, 16)))
