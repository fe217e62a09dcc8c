"""Trained models with rectangular patches, in every use. 16 mel bins x 4 frames: 8 rows, a column every 40 ms."""

import json

import numpy as np
import pytest
import soundfile
import torch

import maskspec_fairseq
from maskspec_fairseq.checkpoints.read import load_autoencoder, load_pretrained, read_checkpoint
from maskspec_fairseq.cli import embed, export
from maskspec_fairseq.cli import reconstruct as reconstruct_program
from maskspec_fairseq.inference.embed_files import FrameEncoder
from maskspec_fairseq.inference.export_folder import write_folder
from maskspec_fairseq.inference.file_batches import encode_file
from maskspec_fairseq.inference.reconstruct import reconstruct
from maskspec_fairseq.integrations import hear
from maskspec_fairseq.modules.masking import random_masking
from maskspec_fairseq.registered_names import MODELS
from tests.factories import (
    MODEL_LABELS,
    build_classifier,
    classifier_cfg,
    noise,
    pretraining_cfg,
    s3prl_hubconf,
    save_checkpoint,
    small_audio_model,
    small_autoencoder,
    small_classifier,
    write_tone,
)

RATE = 32000
HOP = 320  # of the log-mel
FINE = [16, 4]


@pytest.fixture()
def checkpoint(tmp_path):
    """Of a pretraining, for clips of 1 s."""
    model = small_autoencoder(patch_size=FINE)
    return save_checkpoint(tmp_path / "c.pt", model, pretraining_cfg(patch_size=FINE)), model.eval()


def plain_columns(network, clip, bins, frames):
    """The mean over each column, and its rows, of a clip (T,) of one window, through torch's Unfold."""
    spectrogram = network.front_end(clip[None])
    patches = torch.nn.Unfold((bins, frames), stride=(bins, frames))(spectrogram[:, None]).transpose(1, 2)
    grid = (128 // bins, spectrogram.shape[2] // frames)
    tokens = network.encoder(patches, None, grid)[0]
    return tokens.view(*grid, -1).transpose(0, 1)  # (M, R, D)


@pytest.mark.parametrize("bins, frames", [(16, 4), (16, 8), (64, 4), (128, 2)])
@torch.inference_mode()
def test_frames_are_the_columns_and_their_times_the_columns_middles(bins, frames):
    count = 100 // frames
    model, (clip,) = small_audio_model([], patch_size=[bins, frames]), noise(count * frames * HOP, 1)
    window = torch.nn.functional.pad(clip, (0, RATE - len(clip)))
    columns = plain_columns(model.network, window, bins, frames)
    found, times = model.frame_embeddings(clip[None], RATE)
    middle = frames * np.arange(count) + (frames - 1) / 2  # a frame is centred on a multiple of the hop
    np.testing.assert_allclose(times, middle * HOP / RATE, atol=1e-9)
    torch.testing.assert_close(found[0], columns.mean(1), atol=1e-5, rtol=0)
    frequency = model.read_out("frequency")
    assert frequency.embed_dim == 128 // bins * 32
    torch.testing.assert_close(frequency(clip[None], RATE).embedding[0], columns.mean(0).flatten(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("passes, hop", [(1, 0.04), (2, 0.02), (4, 0.01)])
@pytest.mark.parametrize("seconds, rate", [(0.3, RATE), (1.0, RATE), (2.9, 44100)])
@torch.inference_mode()
def test_frames_of_a_file_are_even_and_those_of_its_waveform(tmp_path, seconds, rate, passes, hop):
    path = write_tone(tmp_path / "a.wav", seconds, rate)
    model = small_audio_model(patch_size=FINE)
    waveform = torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None]
    expected, expected_times = model.frame_embeddings(waveform, rate, passes)
    found, times = encode_file(FrameEncoder(model, passes), str(path))
    assert torch.equal(times, expected_times)
    torch.testing.assert_close(found, expected[0], atol=1e-6, rtol=1e-5)
    np.testing.assert_allclose(times.diff(), hop, atol=1e-9)
    assert 0 <= times[0] < hop and seconds - hop <= times[-1] < seconds


@torch.inference_mode()
def test_the_columns_of_a_short_clip_that_are_padding_do_not_count():
    """A clip of 0.5 s holds the beginning of 13 columns of 40 ms."""
    model, clip = small_audio_model([], patch_size=FINE), noise(RATE // 2, 1)
    columns = plain_columns(model.network, torch.cat([clip[0], torch.zeros(RATE // 2)]), 16, 4)
    torch.testing.assert_close(model(clip, RATE).embedding[0], columns[:13].mean((0, 1)), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_kaldis_frames_have_their_middles_half_a_window_later():
    """The first column of the front end `audiomae` has 16 frames of 25 ms, which begin every 10 ms."""
    model = small_audio_model([], front_end="audiomae", sample_rate=16000)
    times = model.frame_embeddings(noise(16000, 1), 16000)[1]
    np.testing.assert_allclose(times, (0.15 + 0.025) / 2 + 0.16 * np.arange(6), atol=1e-9)


@torch.inference_mode()
def test_a_click_moves_the_frame_at_its_time_most():
    """Finer than a square patch of 160 ms could tell."""
    model = small_audio_model([], patch_size=FINE)
    for at in (0.29, 0.74, 1.51):
        clip = noise(2 * RATE, 1)
        other = clip.clone()
        other[0, round(at * RATE) :][:640] += torch.hann_window(640)  # 20 ms
        (before, times), (after, _) = (model.frame_embeddings(each, RATE) for each in (clip, other))
        changed = times[(after - before).norm(dim=2).argmax()]
        assert abs(changed - (at + 0.01)) < 0.045


@pytest.mark.parametrize("frames, step", [(16, 40), (8, 40), (4, 40), (2, 20), (32, 40), (10, 25)])
@torch.no_grad()
def test_hear_gets_a_timestamp_every_40_ms(tmp_path, frames, step):
    write_folder(small_audio_model([], patch_size=[16, frames]), str(tmp_path))
    model, audio = hear.load_model(str(tmp_path)), noise(50000)
    embeddings, timestamps = hear.get_timestamp_embeddings(audio, model)
    assert embeddings.shape == (2, timestamps.shape[1], model.timestamp_embedding_size)
    np.testing.assert_allclose(timestamps.diff(), step, atol=1e-3)
    assert 0 <= timestamps[0, 0] <= step and timestamps[0, -1] >= 1000 * 50000 / RATE - 2 * step


def test_s3prl_gets_the_models_frames(tmp_path, monkeypatch):
    write_folder(small_audio_model(patch_size=FINE), str(tmp_path))
    upstream, clips = s3prl_hubconf(monkeypatch).maskspec(str(tmp_path)), noise(16000)
    assert upstream.get_downsample_rates("hidden_states") == 640  # 40 ms at 16 kHz
    with torch.inference_mode():
        frames, _ = upstream.model.frame_embeddings(clips, 16000)
        torch.testing.assert_close(upstream(list(clips))["last_hidden_state"], frames)


@pytest.mark.parametrize("labels", [MODEL_LABELS, []])
@torch.inference_mode()
def test_an_exported_folder_comes_back_bit_by_bit(tmp_path, labels):
    model = small_audio_model(labels, patch_size=FINE)
    write_folder(model, str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["patch_size"], config["frequency_stride"], config["time_stride"]) == (FINE, 16, 4)
    assert config["max_length"] == 100
    loaded = maskspec_fairseq.load_model(str(tmp_path))
    assert loaded.network.patch_size == (16, 4) and loaded.column_samples == 4 * HOP
    assert torch.equal(loaded(noise(40000), 44100).embedding, model(noise(40000), 44100).embedding)


def test_the_folder_of_a_square_is_as_it_was(tmp_path):
    write_folder(small_audio_model([]), str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["patch_size"], config["frequency_stride"], config["time_stride"]) == (16, 16, 16)
    (tmp_path / "config.json").write_text(json.dumps({**config, "patch_size": [16, 16]}))
    assert torch.equal(
        maskspec_fairseq.load_model(str(tmp_path))(noise(RATE), RATE).embedding,
        small_audio_model([])(noise(RATE), RATE).embedding,
    )


@pytest.mark.parametrize(
    "patch_size, match",
    [
        ([16], "config.json: expected patch_size to be a whole number from 1 to 256, or a list of length 2, of which"),
        ("16", "expected patch_size to be a whole number from 1 to 256, or a list of length 2, .*, found '16'"),
        ([16, 0], r"each item is a whole number from 1 to 256, found \[16, 0\]"),
        ([80, 4], "found one that makes none: expected a patch size that divides 128 mel bins, found 80 x 4"),
        ([16, 128], "found one that makes none: expected clips of at least 128 frames .1.28 s., found 101 frames"),
        ([16, 8], r"expected the weights of the model that its config describes \(patch_size \[16, 8\], .*patch_embed"),
        ([4, 16], r"expected frequency_stride to be 4, as the other fields have it, found 16"),  # as many values
    ],
)
def test_a_folder_whose_patches_do_not_fit_is_refused(tmp_path, patch_size, match):
    write_folder(small_audio_model([], patch_size=FINE), str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "patch_size": patch_size}))
    with pytest.raises(ValueError, match=match):
        maskspec_fairseq.load_model(str(tmp_path))


@pytest.mark.slow
@torch.inference_mode()
def test_onnxruntime_gives_the_models_outputs(tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = small_audio_model(patch_size=FINE)
    write_folder(model, str(tmp_path / "m"))
    assert export.main(["--checkpoint", str(tmp_path / "m"), "--out", str(tmp_path / "n"), "--onnx"]) == 0
    session = onnxruntime.InferenceSession(str(tmp_path / "n" / "model.onnx"))
    for length in (700, RATE // 2, RATE, 2 * RATE + 5):
        expected = model(noise(length, 3), RATE)
        logits, embedding = session.run(["logits", "embedding"], {"waveform": noise(length, 3).numpy()})
        np.testing.assert_allclose(logits, expected.logits, atol=1e-4)
        np.testing.assert_allclose(embedding, expected.embedding, atol=1e-4)


def test_hidden_patches_of_a_reconstruction_are_rectangles(checkpoint, tmp_path, capsys):
    path, model = checkpoint
    loaded, cfg = load_autoencoder(path)
    assert cfg["model"]["patch_size"] == FINE
    waveform = 0.1 * torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    result = reconstruct(loaded, waveform, RATE, mask_ratio=0.5, seed=3)
    mask = random_masking(np.array([[3, 0, 0]]), 200, 0.5).view(8, 25).numpy()
    assert np.array_equal(np.isnan(result.masked), mask.repeat(16, axis=0).repeat(4, axis=1))
    expected = 10 / np.log(10) * model.front_end.log_mel(waveform[None])[0].numpy()
    np.testing.assert_allclose(result.original, expected, atol=1e-3)
    hidden = np.isnan(result.masked)
    np.testing.assert_allclose(result.restored[~hidden], expected[~hidden], atol=1e-3)
    clip, picture = write_tone(tmp_path / "a.wav"), tmp_path / "a.png"
    assert reconstruct_program.main([str(clip), "--checkpoint", path, "--out", str(picture)]) == 0
    assert picture.stat().st_size > 10_000


@torch.inference_mode()
def test_a_pretraining_is_finetuned_embedded_and_told_from_another(checkpoint, tmp_path, capsys):
    path, autoencoder = checkpoint
    cfg = classifier_cfg(patch_size=FINE)
    model = build_classifier(cfg)
    load_pretrained(model, cfg, path)
    assert torch.equal(model.encoder.patch_embed.weight, autoencoder.encoder.patch_embed.weight)
    with pytest.raises(ValueError, match=r"\(patch_size: expected 16, found \[16, 4\]\); .*model.FIELD=VALUE"):
        load_pretrained(small_classifier(), classifier_cfg(), path)
    clip = write_tone(tmp_path / "a.wav", 0.5)
    assert embed.main([str(clip), "--checkpoint", path, "--out", str(tmp_path / "e.npz"), "--frames"]) == 0
    with np.load(tmp_path / "e.npz") as archive:
        np.testing.assert_allclose(archive["times_0"], 0.015 + 0.04 * np.arange(13), atol=1e-9)


@pytest.mark.parametrize("patch_size", [16, [16, 16]])
def test_a_checkpoint_with_squares_is_read_as_one_number(tmp_path, patch_size):
    path = save_checkpoint(tmp_path / "c.pt", small_autoencoder(), pretraining_cfg(patch_size=patch_size))
    found = read_checkpoint(path, MODELS)["cfg"]["model"]["patch_size"]
    assert found == 16 and type(found) is int
    load_pretrained(small_classifier(), classifier_cfg(), path)
