"""`load_model` with the name of a model on the Hugging Face Hub; nothing is downloaded here."""

import sys
import types

import pytest
import torch

import maskspec_fairseq
from maskspec_fairseq.inference.export_folder import write_folder
from tests.factories import noise, small_audio_model


@pytest.fixture()
def hub(tmp_path, monkeypatch):
    """A hub that has one model, and the names that it was asked for."""
    write_folder(small_audio_model(), str(tmp_path / "cache"))
    asked = []

    def snapshot_download(name, allow_patterns):
        asked.append((name, sorted(allow_patterns)))
        if name != "acoustics/dogs":
            raise ConnectionError("Cannot reach the server.\nSee its log")
        return str(tmp_path / "cache")

    module = types.ModuleType("huggingface_hub")
    monkeypatch.setattr(module, "snapshot_download", snapshot_download, raising=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.chdir(tmp_path)
    return asked


def test_a_name_is_downloaded(hub):
    model = maskspec_fairseq.load_model("acoustics/dogs")
    with torch.no_grad():
        assert torch.equal(model(noise(500), 32000).logits, small_audio_model()(noise(500), 32000).logits)
    assert hub == [("acoustics/dogs", ["config.json", "model.safetensors"])]


def test_a_local_path_comes_first(hub, tmp_path):
    write_folder(small_audio_model([]), str(tmp_path / "acoustics" / "dogs"))
    assert not maskspec_fairseq.load_model("acoustics/dogs").labels and not hub


@pytest.mark.parametrize("path", ["runs/none.pt", "a/b/c", "none", "/none/none", "./none/none"])
def test_a_path_is_not_taken_for_a_name(path, hub):
    with pytest.raises(ValueError, match=f"^{path}: expected a checkpoint of a maskspec run, found no such file"):
        maskspec_fairseq.load_model(path)
    assert not hub


def test_a_failed_download_is_one_sentence(hub):
    with pytest.raises(ValueError, match=r"^acoustics/cats: .* its download failed: Cannot reach the server; correct"):
        maskspec_fairseq.load_model("acoustics/cats")


def test_offline_it_fails_in_one_sentence(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs huggingface_hub")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="^acoustics/nothing-of-that-name: .* its download failed: ") as error:
        maskspec_fairseq.load_model("acoustics/nothing-of-that-name")
    assert "\n" not in str(error.value)


def test_without_huggingface_hub_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"no huggingface_hub to download .*; correct the path, or pip install hugg"):
        maskspec_fairseq.load_model("acoustics/dogs")
