"""Exported folders as the start of a training, weights in half the size, and weights that come with the package."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import maskspec_fairseq
from maskspec_fairseq.checkpoints.exported import pretrained_path, read_exported, shipped_weights
from maskspec_fairseq.checkpoints.read import load_pretrained
from maskspec_fairseq.checkpoints.run_record import file_source
from maskspec_fairseq.cli import export
from maskspec_fairseq.inference.export_folder import write_folder
from tests.factories import (
    build_classifier,
    classifier_cfg,
    noise,
    pretraining_cfg,
    save_checkpoint,
    small_audio_model,
    small_autoencoder,
    small_classifier,
)


def exported(checkpoint, folder, *options):
    assert export.main(["--checkpoint", str(checkpoint), "--out", str(folder), *options]) == 0
    return str(folder)


@pytest.mark.parametrize("finetuned", [False, True])
def test_a_folder_starts_a_training_like_the_checkpoint_it_was_made_from(tmp_path, finetuned):
    model, cfg = (small_classifier(), classifier_cfg()) if finetuned else (small_autoencoder(), pretraining_cfg())
    checkpoint = save_checkpoint(tmp_path / "c.pt", model, cfg)
    folder = exported(checkpoint, tmp_path / "folder")
    starts = []
    for path in (checkpoint, folder):
        torch.manual_seed(0)  # of a new head
        starts.append(build_classifier(classifier_cfg()))
        said = load_pretrained(starts[-1], classifier_cfg(), path)
        assert (", head" if finetuned else ", new head") in said and f"from {path}" in said
    for name, value in starts[0].state_dict().items():
        assert torch.equal(starts[1].state_dict()[name], value), name


def test_a_folder_of_another_encoder_is_refused(tmp_path):
    folder = exported(save_checkpoint(tmp_path / "c.pt", small_autoencoder(), pretraining_cfg()), tmp_path / "folder")
    cfg = classifier_cfg(patch_size=[16, 8])
    with pytest.raises(ValueError, match=r"folder: expected the encoder that model\.\* describes, found another one"):
        load_pretrained(build_classifier(cfg), cfg, folder)


def test_no_file_of_another_model_stays_in_a_folder(tmp_path, capsys):
    first, second = (
        save_checkpoint(tmp_path / name, small_autoencoder(), pretraining_cfg()) for name in ("a.pt", "b.pt")
    )
    folder = exported(first, tmp_path / "folder", "--timm", "--pool", "mean")
    before = {path: path.read_bytes() for path in (tmp_path / "folder").iterdir()}
    assert export.main(["--checkpoint", second, "--out", folder]) == 2
    assert "found timm.safetensors of an earlier one; add --timm, remove it, or name" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "folder").iterdir()} == before
    exported(second, folder, "--timm", "--pool", "mean")


def test_a_path_may_be_a_pathlib_path(tmp_path):
    folder = exported(save_checkpoint(tmp_path / "c.pt", small_autoencoder(), pretraining_cfg()), tmp_path / "folder")
    assert maskspec_fairseq.load_model(Path(folder)).layers == maskspec_fairseq.load_model(folder).layers
    with pytest.raises(ValueError, match="nowhere.pt: expected a checkpoint of a maskspec run, found no such file"):
        maskspec_fairseq.load_model(Path("nowhere.pt"))


def test_half_the_size_is_the_nearest_half_precision_number_and_float32_again(tmp_path):
    checkpoint = save_checkpoint(tmp_path / "c.pt", small_classifier(), classifier_cfg())
    whole, half = (
        exported(checkpoint, tmp_path / name, *options) for name, options in (("w", ()), ("h", ["--float16"]))
    )
    stored = load_file(f"{half}/model.safetensors")
    statistics = {name for name, value in stored.items() if value.dtype == torch.float32}
    assert statistics == {"front_end.mel_mean", "front_end.mel_std"}
    (_, _, read), (_, _, expected) = read_exported(half), read_exported(whole)
    for name, value in expected.items():
        assert read[name].dtype == torch.float32
        assert torch.equal(read[name], value if name in statistics else value.half().float())
    with torch.no_grad():
        logits = [maskspec_fairseq.load_model(path)(noise(32000), 32000).logits for path in (whole, half)]
    torch.testing.assert_close(*logits, rtol=0.01, atol=0.01)


def test_weights_beyond_half_precision_are_refused(tmp_path):
    model = small_audio_model()
    with torch.no_grad():
        model.network.head.weight[0, 0] = 1e5
    with pytest.raises(ValueError, match=r"up to 65504 for torch.float16, found head.weight with 100000; .* float32"):
        write_folder(model, str(tmp_path / "m"), torch.float16)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("place", ["package/weights", "weights"])  # of a wheel, of a checkout
def test_weights_that_come_with_the_package_are_found_by_name(tmp_path, place):
    write_folder(small_audio_model(), str(tmp_path / place / "tiny"))
    package = tmp_path / "package"
    assert shipped_weights("tiny", package) == str(tmp_path / place / "tiny")
    assert shipped_weights("small", package) is None
    assert shipped_weights(f"{tmp_path / place}/tiny", package) is None and shipped_weights("../tiny", package) is None


def test_the_path_here_comes_first(tmp_path, monkeypatch):
    shipped = tmp_path / "shipped"
    write_folder(small_audio_model(), str(shipped))
    monkeypatch.setattr("maskspec_fairseq.inference.load.shipped_weights", {"tiny": str(shipped)}.get)
    monkeypatch.chdir(tmp_path)
    assert maskspec_fairseq.load_model("tiny").labels
    write_folder(small_audio_model([]), "tiny")
    assert not maskspec_fairseq.load_model("tiny").labels


def test_a_training_starts_from_a_path_or_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr("maskspec_fairseq.checkpoints.exported.shipped_weights", {"tiny": "/shipped/tiny"}.get)
    assert pretrained_path("tiny", str(tmp_path)) == "/shipped/tiny"
    assert pretrained_path("none.pt", str(tmp_path)) == str(tmp_path / "none.pt")
    (tmp_path / "tiny").mkdir()
    assert pretrained_path("tiny", str(tmp_path)) == str(tmp_path / "tiny")
    assert pretrained_path("/a/b.pt", str(tmp_path)) == "/a/b.pt"


def test_a_run_knows_the_folder_it_started_from_by_its_weights(tmp_path):
    write_folder(small_audio_model(), str(tmp_path / "m"))
    known = file_source(str(tmp_path / "m"))
    shutil.move(tmp_path / "m", tmp_path / "moved")
    assert file_source(str(tmp_path / "moved"))["sha256"] == known["sha256"] is not None
    write_folder(small_audio_model([]), str(tmp_path / "moved"))
    assert file_source(str(tmp_path / "moved"))["sha256"] != known["sha256"]
