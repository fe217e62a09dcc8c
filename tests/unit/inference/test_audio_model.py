import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import soxr
import torch
from maskspec_fairseq.inference.clip_windows import windows

import maskspec_fairseq
from maskspec_fairseq.cli import evaluate, export
from maskspec_fairseq.data_dir.manifest import Manifest
from maskspec_fairseq.inference.export_folder import write_folder
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.modules.patches import patchify
from tests.factories import MODEL_LABELS, REPOSITORY, noise, save_finetuned, small_audio_model, write_tone
from tests.unit.test_layers import NO_FAIRSEQ

RATE = 32000
SMALL = {"encoder_embed_dim": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_embed_dim": 64}
LENGTHS = [1, 700, RATE // 2, RATE, RATE + 1, 3 * RATE - 5]


VARIANTS = [{}, {"cls_token": True, "pool": "cls"}, {"cls_token": True, "norm_after_pool": True}]


@pytest.mark.parametrize("architecture", VARIANTS)
@pytest.mark.parametrize("labels", [MODEL_LABELS, []])
@torch.inference_mode()
def test_exported_folder_comes_back_bit_by_bit(tmp_path, labels, architecture):
    model = small_audio_model(labels, **architecture)
    write_folder(model, str(tmp_path / "m"))
    loaded = maskspec_fairseq.load_model(str(tmp_path / "m"))
    assert not loaded.training and loaded.labels == labels and loaded.target_is_multilabel == bool(labels)
    for length in LENGTHS:
        ours, theirs = model(noise(length), 44100), loaded(noise(length), 44100)
        assert torch.equal(ours.embedding, theirs.embedding)
        assert torch.equal(ours.logits, theirs.logits) if labels else ours.logits is theirs.logits is None
        assert torch.equal(*(each.frame_embeddings(noise(length), RATE, 4)[0] for each in (model, loaded)))


def test_config_has_the_names_of_transformers(tmp_path):
    write_folder(small_audio_model(), str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    expected = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    assert {name: config[name] for name in expected} == expected
    assert config["id2label"] == {"0": "Dog, barking", "1": "Rain", "2": "Sea waves"}
    assert config["problem_type"] == "multi_label_classification" and config["num_mel_bins"] == 128
    assert config["max_length"] == 96 and config["sampling_rate"] == RATE


@pytest.mark.parametrize("length", LENGTHS)
@torch.inference_mode()
def test_logits_are_the_mean_over_the_windows_of_evaluate(length):
    model = small_audio_model()
    expected = [model.network(torch.from_numpy(windows(clip.numpy(), RATE, RATE))).mean(0) for clip in noise(length)]
    torch.testing.assert_close(model(noise(length), RATE).logits, torch.stack(expected), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_checkpoint_of_a_run_gives_the_logits_of_maskspec_evaluate(tmp_path):
    path, _ = save_finetuned(tmp_path / "c.pt", seed=1)
    files = [write_tone(tmp_path / f"{number}.wav", seconds) for number, seconds in enumerate([0.3, 1.0, 2.7])]
    manifest = Manifest(str(tmp_path), [file.name for file in files], [1, 1, 1])
    expected = evaluate.predict(path, manifest, None, batch_size=2, workers=0, device="cpu")
    model = maskspec_fairseq.load_model(path)
    assert [label.key for label in model.labels] == ["low", "middle", "high"]
    for file, logits in zip(files, expected):
        waveform = torch.from_numpy(soundfile.read(file, dtype="float32")[0])[None]
        np.testing.assert_allclose(model(waveform, RATE).logits[0], logits, atol=1e-5)


@torch.inference_mode()
def test_pretraining_checkpoint_is_an_encoder_without_its_decoder(tmp_path):
    torch.manual_seed(0)
    autoencoder = MaskedAutoencoder(**SMALL, decoder_embed_dim=16, decoder_layers=1, decoder_attention_heads=2).eval()
    cfg = {**SMALL, "_name": "maskspec", "front_end": "paper", "sample_rate": RATE, "patch_size": 16}
    state = {"cfg": {"model": {**cfg, "cls_token": False}, "task": {"clip_sec": 1.0, "channel": "left"}}}
    torch.save({**state, "model": autoencoder.state_dict()}, tmp_path / "c.pt")
    model = maskspec_fairseq.load_model(str(tmp_path / "c.pt"))
    assert model.labels == [] and model.channel == "left"
    clips, front_end = noise(RATE), autoencoder.front_end
    tokens = autoencoder.encoder(patchify(front_end(clips), 16), None, front_end.grid(RATE))
    output = model(clips, RATE)
    assert output.logits is None
    torch.testing.assert_close(output.embedding, tokens.mean(1), atol=1e-5, rtol=0)
    # of a clip that is shorter, the columns that hold it; the encoder sees the padding of pretraining
    half = torch.cat([clips[:, : RATE // 2], torch.zeros(2, RATE // 2)], dim=1)
    columns = autoencoder.encoder(patchify(front_end(half), 16), None, front_end.grid(RATE)).view(2, 8, 6, 32)
    torch.testing.assert_close(
        model(clips[:, : RATE // 2], RATE).embedding, columns[:, :, :4].mean((1, 2)), atol=1e-5, rtol=0
    )


@torch.inference_mode()
def test_frames_of_a_clip_are_its_columns_and_average_to_its_embedding():
    model = small_audio_model([])
    frames, times = model.frame_embeddings(noise(RATE), RATE)
    assert frames.shape == (2, 6, 32)
    np.testing.assert_allclose(times, 0.075 + 0.16 * np.arange(6), atol=1e-9)
    torch.testing.assert_close(frames.mean(1), model(noise(RATE), RATE).embedding, atol=1e-5, rtol=0)


@pytest.mark.parametrize("passes, hop", [(1, 0.16), (2, 0.08), (4, 0.04), (8, 0.02)])
@pytest.mark.parametrize("length", LENGTHS[2:])
@torch.inference_mode()
def test_frames_are_even_and_within_the_clip(length, passes, hop):
    frames, times = small_audio_model().frame_embeddings(noise(length), RATE, passes)
    assert frames.shape == (2, len(times), 32) and torch.isfinite(frames).all()
    np.testing.assert_allclose(times.diff(), hop, atol=1e-9)
    assert 0 <= times[0] < hop and length / RATE - hop <= times[-1] < length / RATE


@torch.inference_mode()
def test_a_frame_tells_of_its_own_time():
    """A click moves the frame at its time more than any other."""
    model = small_audio_model([])
    for at in (0.3, 0.75, 1.5):
        clip = noise(2 * RATE, 1)
        other = clip.clone()
        other[0, round(at * RATE) :][:1600] += torch.hann_window(1600)
        (before, times), (after, _) = (model.frame_embeddings(each, RATE, 4) for each in (clip, other))
        changed = times[(after - before).norm(dim=2).argmax()]
        assert abs(changed - (at + 0.025)) < 0.12


@torch.inference_mode()
def test_clips_of_another_rate_are_resampled():
    model, clips = small_audio_model(), noise(11025)
    resampled = torch.from_numpy(np.stack([soxr.resample(clip.numpy(), 22050, RATE) for clip in clips]))
    torch.testing.assert_close(model(clips, 22050).logits, model(resampled, RATE).logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(model(clips, np.int64(22050)).logits, model(clips, 22050).logits)


@torch.inference_mode()
def test_a_clip_does_not_depend_on_its_batch_and_half_the_model_follows():
    model, clips = small_audio_model(), noise(RATE, 3)
    expected = model(clips, RATE).logits
    torch.testing.assert_close(
        torch.cat([model(clip[None], RATE).logits for clip in clips]), expected, atol=1e-5, rtol=0
    )
    torch.testing.assert_close(model.bfloat16()(clips, RATE).logits.float(), expected, atol=0.2, rtol=0.05)


@pytest.mark.parametrize(
    "waveform, rate, match",
    [
        (torch.zeros(1, 100), 32000.0, "whole number of Hz, found 32000.0"),
        (torch.zeros(1, 100), "32k", "whole number of Hz, found '32k'"),
        (torch.zeros(1, 100), True, "whole number of Hz, found True"),
        (torch.zeros(1, 100), 0, "whole number of Hz, found 0"),
        (torch.zeros(100), RATE, r"\(B, T\), found torch.float32 \(100,\); of one clip: clip\[None\]"),
        (torch.zeros(1, 100, dtype=torch.int16), RATE, "tensor of floats.*found torch.int16"),
        (np.zeros((1, 100)), RATE, "found ndarray"),
        (torch.zeros(1, 0), RATE, r"with samples, found the shape \(1, 0\)"),
        (torch.full((1, 100), float("nan")), RATE, "finite samples, found NaN"),
        (torch.zeros(1, 1), 192000, "a sample at 32000 Hz at least, found 1 before"),
    ],
)
def test_what_is_no_audio_is_refused(waveform, rate, match):
    with pytest.raises(ValueError, match=match):
        small_audio_model()(waveform, rate)


def test_passes_that_do_not_divide_a_column_are_refused():
    with pytest.raises(ValueError, match="divides the 5120 samples of a column, found 3"):
        small_audio_model().frame_embeddings(noise(RATE), RATE, passes=3)


def without(path, name):
    (path / name).unlink()


def cut_off(path, name):
    (path / name).write_bytes((path / name).read_bytes()[:-100])


def edited(path, **fields):
    config = json.loads((path / "config.json").read_text())
    config.update(fields)
    (path / "config.json").write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


@pytest.mark.parametrize(
    "damage, match",
    [
        (lambda path: without(path, "config.json"), "found no config.json"),
        (lambda path: without(path, "model.safetensors"), "found no model.safetensors"),
        (lambda path: cut_off(path, "model.safetensors"), "model.safetensors: expected safetensors, found: .*cut off"),
        (lambda path: (path / "model.safetensors").write_bytes(b"no"), "expected safetensors"),
        (lambda path: cut_off(path, "config.json"), "config.json: expected JSON"),
        (lambda path: edited(path, model_type="bert"), "expected model_type 'maskspec', found 'bert'"),
        (lambda path: edited(path, hidden_size=None), "expected the field 'hidden_size', found none"),
        (lambda path: edited(path, hidden_size=64), "expected the weights of the model that it describes"),
        (lambda path: edited(path, hidden_size="x"), "found one that makes none"),
    ],
)
def test_damaged_folder_is_refused(tmp_path, capsys, damage, match):
    write_folder(small_audio_model(), str(tmp_path / "m"))
    damage(tmp_path / "m")
    with pytest.raises(ValueError, match=match):
        maskspec_fairseq.load_model(str(tmp_path / "m"))
    assert export.main(["--checkpoint", str(tmp_path / "m"), "--out", str(tmp_path / "n")]) == 2
    assert capsys.readouterr().err.startswith("maskspec-export: ") and not (tmp_path / "n").exists()


@pytest.mark.parametrize("labels", [MODEL_LABELS, []])
@torch.inference_mode()
def test_onnxruntime_gives_the_models_outputs(tmp_path, capsys, labels):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = small_audio_model(labels)
    write_folder(model, str(tmp_path / "m"))
    assert export.main(["--checkpoint", str(tmp_path / "m"), "--out", str(tmp_path / "n"), "--onnx"]) == 0
    assert sorted(os.listdir(tmp_path / "n")) == ["config.json", "model.onnx", "model.safetensors"]
    session = onnxruntime.InferenceSession(str(tmp_path / "n" / "model.onnx"))
    for clips in (1, 3):
        for length in LENGTHS:
            expected = {
                name: v for name, v in dataclasses.asdict(model(noise(length, clips), RATE)).items() if v is not None
            }
            found = session.run(list(expected), {"waveform": noise(length, clips).numpy()})
            for name, value in zip(expected, found):
                np.testing.assert_allclose(value, expected[name], atol=1e-4)


WITHOUT_FAIRSEQ = """
import importlib, pkgutil, sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("fairseq", "fairseq_cli", "omegaconf", "hydra"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
import maskspec_fairseq
import torch
for name in sys.argv[2:]:
    package = importlib.import_module("maskspec_fairseq." + name)
    for module in pkgutil.iter_modules(getattr(package, "__path__", []), package.__name__ + "."):
        importlib.import_module(module.name)
model = maskspec_fairseq.load_model(sys.argv[1])
print(tuple(model(torch.zeros(1, 16000), 16000).logits.shape))
"""


def test_everything_here_is_used_where_there_is_no_fairseq(tmp_path):
    write_folder(small_audio_model(), str(tmp_path / "m"))
    names = [name for name in NO_FAIRSEQ if name != "s3prl_upstream"]  # which needs s3prl
    command = [sys.executable, "-c", WITHOUT_FAIRSEQ, str(tmp_path / "m"), *names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1, 3)"
