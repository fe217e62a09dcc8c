import importlib.metadata
import sys

import librosa
import numpy as np
import pytest
import torch
import torchaudio.compliance.kaldi as kaldi

from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.modules.mel_banks import (
    import_torchaudio,
    make_mel_banks,
    mel_bands,
    mel_centres_hz,
    mel_power,
)

RATE = 32000


@pytest.mark.parametrize("rate, f_min, f_max", [(RATE, 50.0, 14000.0), (RATE, 0.0, 16000.0), (11025, 50.0, 4000.0)])
def test_slaney_filters_are_librosas(rate, f_min, f_max):
    expected = librosa.filters.mel(sr=rate, n_fft=1024, n_mels=128, fmin=f_min, fmax=f_max, norm=None)
    np.testing.assert_allclose(make_mel_banks("slaney", 128, 1024, rate, f_min, f_max), expected, atol=1e-6)


@pytest.mark.parametrize("f_min, f_max", [(0.0, 15000.0), (9.0, 14001.0)])
def test_kaldi_filters_are_even_on_kaldis_mel_scale(f_min, f_max):
    """The definition, in float64: Kaldi's documentation has mel = 1127 ln(1 + hz / 700)."""
    low, high = (1127 * np.log(1 + np.array(hz) / 700) for hz in (f_min, f_max))
    corners = np.linspace(low, high, 130)
    mel = 1127 * np.log(1 + np.arange(512) * RATE / 1024 / 700)
    expected = np.stack([np.interp(mel, corners[n : n + 3], [0, 1, 0]) for n in range(128)])
    banks = make_mel_banks("kaldi", 128, 1024, RATE, f_min, f_max)
    np.testing.assert_allclose(banks[:, :-1], expected, atol=1e-4)
    assert banks.shape == (128, 513) and (banks[:, -1] == 0).all()


def test_another_scale_is_refused():
    with pytest.raises(ValueError, match=r"a mel scale out of \('slaney', 'kaldi'\), found 'htk'"):
        make_mel_banks("htk", 128, 1024, RATE, 50.0, 14000.0)


@pytest.mark.parametrize("scale", ["slaney", "kaldi"])
def test_filters_do_not_depend_on_where_they_were_first_asked_for(scale):
    make_mel_banks.cache_clear()
    with torch.inference_mode(), torch.device("meta"):
        banks = make_mel_banks(scale, 40, 256, 8000, 0.0, 4000.0)
    assert banks.device.type == "cpu" and not banks.is_inference() and banks.dtype == torch.float32
    assert make_mel_banks(scale, 40, 256, 8000, 0.0, 4000.0) is banks


@pytest.mark.parametrize("name, rate", [("paper", 32000), ("narrowband", 8000)])
def test_no_filter_is_empty(name, rate):
    assert (LogMel(name, rate).mel_banks.sum(1) > 0).all()


def test_centres_are_the_filters_peaks():
    slaney = librosa.mel_frequencies(130, fmin=50.0, fmax=14000.0)[1:-1]
    np.testing.assert_allclose(mel_centres_hz("slaney", 128, RATE, 50.0, 14000.0), slaney, atol=2.0)
    expected = kaldi.get_mel_banks(128, 1024, float(RATE), 50.0, 14000.0, 100.0, -500.0, 1.0)[1][:, 0]
    np.testing.assert_allclose(mel_centres_hz("kaldi", 128, RATE, 50.0, 14000.0), expected, atol=2.0)


@pytest.mark.parametrize("edges", [[(50.0, 14000.0)], [(0.0, 14001.0), (9.0, 16000.0)]], ids=["shared", "per clip"])
@pytest.mark.parametrize("scale", ["slaney", "kaldi"])
def test_the_trimmed_product_is_the_whole_one(scale, edges):
    banks = torch.stack([make_mel_banks(scale, 128, 1024, RATE, *pair) for pair in edges])
    banks = banks[0] if len(edges) == 1 else banks
    power = torch.rand(2, 7, 513)
    bands = mel_bands(banks)
    assert sum(bins.stop - bins.start for _, bins in bands) < 2 * 513
    assert torch.allclose(mel_power(banks, bands, power), power @ banks.mT, rtol=1e-5)


def test_filters_that_take_nothing_give_nothing():
    banks = torch.zeros(32, 513)
    assert torch.equal(mel_power(banks, mel_bands(banks), torch.rand(1, 3, 513)), torch.zeros(1, 3, 32))


class BuiltForAnotherCuda:
    """Finds torchaudio, and fails as its import does next to another torch."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torchaudio":
            raise self.error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Detected that PyTorch and TorchAudio were compiled\nwith different CUDA versions."),
        OSError("libtorchaudio.so: undefined symbol"),
        ImportError("No module named 'torchaudio'"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("installed", [True, False])
def test_a_torchaudio_that_does_not_import_is_named_with_the_cure(monkeypatch, error, installed):
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [BuiltForAnotherCuda(error), *sys.meta_path])
    found = f"torchaudio {importlib.metadata.version('torchaudio')}" if installed else "no torchaudio"
    if not installed:
        monkeypatch.setattr(importlib.metadata, "version", version_of_nothing)
    make_mel_banks.cache_clear()
    with pytest.raises(ImportError) as caught:
        LogMel()
    message = str(caught.value)
    assert f"found {found} next to torch {torch.__version__} (" in message and str(error).split("\n")[0] in message
    assert message.endswith('mend it with: pip install "torch<2.15" torchaudio') and "\n" not in message


def version_of_nothing(name):
    raise importlib.metadata.PackageNotFoundError(name)


def test_torchaudio_is_imported_where_it_can_be():
    assert import_torchaudio().functional.melscale_fbanks
