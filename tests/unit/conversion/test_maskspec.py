"""The released files of MaskSpec, of random weights: our model gives what theirs gives."""

import argparse

import numpy as np
import pytest
import torch
import torchaudio.compliance.kaldi as kaldi

from maskspec_fairseq.checkpoints.read import load_autoencoder
from maskspec_fairseq.cli.convert import main
from maskspec_fairseq.data_dir.labels import Label, write_vocabulary
from maskspec_fairseq.inference.load import load_model
from maskspec_fairseq.modules.losses import masked_spectrogram_loss
from maskspec_fairseq.modules.masking import random_masking, split_by_mask
from tests.factories import load_classifier
from tests.unit.conversion.originals import Mae, finetuned, randomise, write_statistics

RATE = 32000
RNG = np.random.default_rng(0)
# as uneven as the shipped ones; the emptiest bins have less than a twentieth of the others' deviation
MEAN, STD = RNG.normal(-0.05, 0.3, 128).astype(np.float32), RNG.uniform(0.5, 0.9, 128).astype(np.float32)
STD[120:] = 0.03


@pytest.fixture(scope="module")
def waveform() -> torch.Tensor:
    """Two clips of 10 s: noise that swells, and a tone over it."""
    time = torch.arange(10 * RATE) / RATE
    noise = torch.randn(2, 10 * RATE, generator=torch.Generator().manual_seed(0))
    return torch.stack([0.1 * noise[0] * time / 10, 0.3 * torch.sin(5000 * time) + 0.02 * noise[1]])


def released_log_mel(waveform: torch.Tensor) -> torch.Tensor:
    """(B, T) -> (B, 1, 128, 1000), from its description: pre-emphasis, Hann window of 800, Kaldi's filters, twice
    normalised."""
    emphasised = torch.nn.functional.conv1d(waveform[:, None], torch.tensor([[[-0.97, 1.0]]]))[:, 0]
    spectrum = torch.stft(
        emphasised, 1024, 320, 800, torch.hann_window(800, periodic=False), center=True, return_complex=True
    )
    banks = kaldi.get_mel_banks(128, 1024, RATE, 0.0, 15000.0, 100.0, -500.0, 1.0)[0]
    power = torch.view_as_real(spectrum).square().sum(-1)
    mel = torch.nn.functional.pad(banks, (0, 1)) @ power
    fast = ((mel + 0.00001).log() + 4.5) / 5.0
    return ((fast - torch.tensor(MEAN)[:, None]) / torch.tensor(STD)[:, None])[:, None]


@pytest.fixture(scope="module")
def original() -> Mae:
    return randomise(Mae((8, 62)))


@pytest.fixture()
def statistics(tmp_path) -> str:
    return write_statistics(tmp_path / "mean_std_128.npy", MEAN, STD)


def converted(tmp_path, state, *options) -> str:
    torch.save(state, tmp_path / "original.pth")
    assert main([str(tmp_path / "original.pth"), "--out", str(tmp_path / "out.pt"), *options]) == 0
    return str(tmp_path / "out.pt")


def test_a_pretrained_file_gives_the_released_codes_outputs(tmp_path, waveform, original, statistics, capsys):
    options = argparse.Namespace(norm_pix_loss=True, mask_ratio=0.75, blr=1e-3, betas=(0.9, 0.95), output_dir="out")
    state = {"model": original.state_dict(), "optimizer": {"state": {}}, "epoch": 60, "scaler": {}, "args": options}
    path = converted(tmp_path, state, "--statistics", statistics)
    model, cfg = load_autoencoder(path)
    assert cfg["model"]["norm_pix_loss"] is True and cfg["model"]["mel_jitter"] is True
    assert cfg["model"]["position_grid"] == [] and cfg["task"]["clip_sec"] == 10.0
    assert "sinusoidal positions, front end 'reference'" in capsys.readouterr().out

    image = released_log_mel(waveform)[..., :992]
    spectrogram = model.front_end(waveform)
    assert (spectrogram - image[:, 0])[:, :120].abs().max() < 1e-4
    # the last bins' deviation multiplies what float32 leaves uncertain
    assert ((spectrogram - image[:, 0]) * torch.tensor(STD)[:, None]).abs().max() < 1e-4

    mask = random_masking(np.array([[1, 1, 0], [1, 1, 1]]), 496, 0.75)
    visible, _ = split_by_mask(mask)
    with torch.no_grad():
        encoded = original.encode(image, mask)
        prediction = original.decode(encoded, mask)
        output = model(waveform, mask=mask)
        patches = torch.nn.functional.unfold(spectrogram[:, None], 16, stride=16).transpose(1, 2)
        assert (model.encoder(patches, visible, (8, 62)) - encoded).abs().max() < 1e-4
    assert (output["prediction"] - prediction[mask].view(2, -1, 256)).abs().max() < 1e-4
    total, count = masked_spectrogram_loss(output["prediction"], output["target"], output["scored"])
    expected = original.loss(image, prediction, mask, norm_pix=True)
    assert expected > 0.5 and float(total / count) == pytest.approx(float(expected), abs=1e-4)


def test_targets_are_those_of_the_run_where_it_says_so(tmp_path, original, statistics):
    state = {"model": original.state_dict(), "args": argparse.Namespace(norm_pix_loss=False, mask_ratio=0.6)}
    _, cfg = load_autoencoder(converted(tmp_path, state, "--statistics", statistics))
    assert cfg["model"]["norm_pix_loss"] is False and cfg["model"]["mask_ratio"] == 0.6
    _, cfg = load_autoencoder(converted(tmp_path, {"model": original.state_dict()}, "--statistics", statistics))
    assert cfg["model"]["norm_pix_loss"] is True and cfg["model"]["mask_ratio"] == 0.75


@pytest.mark.parametrize("noise", [0.1, 0.0], ids=["trained positions", "frozen positions"])
def test_a_finetuned_file_gives_the_released_codes_logits(tmp_path, waveform, statistics, noise):
    original = finetuned((8, 62), 5, noise)
    assert "norm.weight" not in original.state_dict()  # as in the released files
    write_vocabulary(tmp_path / "labels.csv", [Label(f"/m/{n}", f"Class {n}") for n in range(5)])
    state = {"model": original.state_dict(), "epoch": 79}
    path = converted(tmp_path, state, "--statistics", statistics, "--labels", str(tmp_path / "labels.csv"))
    model, cfg = load_classifier(path)
    assert cfg["model"]["position_grid"] == ([8, 62] if noise else [])
    assert cfg["model"]["label_names"] == [f"Class {n}" for n in range(5)]
    with torch.no_grad():
        expected = original(released_log_mel(waveform)[..., :992])
        assert expected.std() > 0.1 and (model(waveform) - expected).abs().max() < 1e-4
        model = load_model(path)
        assert (model(waveform, RATE).logits - expected).abs().max() < 1e-4
        assert [label.key for label in model.labels] == [f"/m/{n}" for n in range(5)]


@pytest.mark.parametrize("seconds", [10, 6])
def test_a_finetuned_file_gives_the_released_codes_features_with_labels_and_without(
    tmp_path, waveform, statistics, seconds
):
    """The head's input: the norm comes after the mean, which is over the padding, too."""
    original = finetuned((8, 62), 5, noise=0.1)
    write_vocabulary(tmp_path / "labels.csv", [Label(f"/m/{n}", f"Class {n}") for n in range(5)])
    clip = waveform[:, : seconds * RATE]
    padded = torch.nn.functional.pad(clip, (0, waveform.shape[1] - clip.shape[1]))
    with torch.no_grad():
        image = released_log_mel(padded)[..., :992]
        expected = original.forward_head(original.forward_features(image), pre_logits=True)
        for labels in ([], ["--labels", str(tmp_path / "labels.csv")]):
            state = {"model": original.state_dict()}
            model = load_model(converted(tmp_path, state, "--statistics", statistics, *labels))
            assert bool(model.labels) == bool(labels)
            assert (model(clip, RATE).embedding - expected).abs().max() < 1e-4


def test_shorter_clips_have_the_first_of_the_trained_positions(tmp_path, waveform, statistics):
    original = finetuned((8, 62), 5, noise=0.1)
    model, _ = load_classifier(converted(tmp_path, {"model": original.state_dict()}, "--statistics", statistics))
    short = finetuned((8, 31), 5, noise=0.0)
    weights = original.state_dict()
    grid = weights["pos_embed"][:, 1:].view(1, 8, 62, -1)[:, :, :31].reshape(1, 248, -1)
    short.load_state_dict({**weights, "pos_embed": torch.cat([weights["pos_embed"][:, :1], grid], dim=1)})
    with torch.no_grad():
        expected = short(released_log_mel(waveform[:, : 5 * RATE])[..., :496])
        assert (model(waveform[:, : 5 * RATE]) - expected).abs().max() < 1e-4


@pytest.mark.parametrize(
    "columns, seconds, classes, several", [(62, 10, 527, True), (31, 5, 20, True), (6, 1, 50, False)]
)
def test_clip_length_and_kind_of_labels_are_told_by_the_file(
    tmp_path, statistics, capsys, columns, seconds, classes, several
):
    state = {"model": finetuned((8, columns), classes, noise=0.1).state_dict()}
    path = converted(tmp_path, state, "--statistics", statistics)
    _, cfg = load_classifier(path)
    assert cfg["task"]["clip_sec"] == seconds and cfg["task"]["target_is_multilabel"] is several
    assert f"{classes} classes, {'several' if several else 'one'} per clip" in capsys.readouterr().out
    assert load_model(path).labels == []  # without names, the head stays behind


def test_audiosets_own_table_of_classes_names_them(tmp_path, statistics):
    rows = "".join(f'{n},/m/{n},"Music, {n}"\n' for n in range(5))
    (tmp_path / "class_labels_indices.csv").write_text("index,mid,display_name\n" + rows)
    state = {"model": finetuned((8, 6), 5, noise=0.1).state_dict()}
    labels = str(tmp_path / "class_labels_indices.csv")
    _, cfg = load_classifier(converted(tmp_path, state, "--statistics", statistics, "--labels", labels))
    assert cfg["model"]["label_names"][4] == "Music, 4" and cfg["model"]["label_keys"][4] == "/m/4"
