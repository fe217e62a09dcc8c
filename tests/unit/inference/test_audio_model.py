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
from safetensors.torch import load_file, save_file

import maskspec_fairseq
from maskspec_fairseq.cli import export
from maskspec_fairseq.inference.embed_files import FrameEncoder
from maskspec_fairseq.inference.export_folder import write_folder
from maskspec_fairseq.inference.file_batches import encode_file
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.modules.patches import patchify
from tests.factories import (
    MODEL_LABELS,
    REPOSITORY,
    SMALL_AUTOENCODER,
    noise,
    pretraining_cfg,
    save_finetuned,
    small_audio_model,
    write_tone,
)
from tests.unit.test_layers import NO_FAIRSEQ

RATE = 32000
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
def test_logits_are_the_mean_over_windows(length):
    model, clips = small_audio_model(), noise(length)
    clips = torch.nn.functional.pad(clips, (0, max(0, RATE - length)))
    starts = [*range(0, clips.shape[1] - RATE, RATE), clips.shape[1] - RATE]
    expected = torch.stack([model.network(clips[:, start : start + RATE]) for start in starts]).mean(0)
    torch.testing.assert_close(model(noise(length), RATE).logits, expected, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_checkpoint_of_a_run_gives_its_network(tmp_path):
    path, network = save_finetuned(tmp_path / "c.pt", seed=1, channel="left")
    model = maskspec_fairseq.load_model(path)
    assert [label.key for label in model.labels] == ["low", "middle", "high"]
    assert model.channel == "left" and not model.training and not model.target_is_multilabel
    assert torch.equal(model(noise(RATE // 2), RATE).logits, network(noise(RATE // 2)))


def test_a_reference_to_the_environment_in_a_checkpoint_stays_text(tmp_path):
    path, _ = save_finetuned(tmp_path / "c.pt", seed=1, labels=("${oc.env:HOME}", "b"))
    assert maskspec_fairseq.load_model(path).labels[0].name == "${oc.env:HOME}"


@torch.inference_mode()
def test_pretraining_checkpoint_is_an_encoder_without_its_decoder(tmp_path):
    torch.manual_seed(0)
    autoencoder = MaskedAutoencoder(**SMALL_AUTOENCODER).eval()
    state = {"cfg": {"model": pretraining_cfg(), "task": {"clip_sec": 1.0, "channel": "left"}}}
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


@pytest.mark.parametrize("passes", [1, 2, 8])
@pytest.mark.parametrize("clip_sec", [1.0, 0.96, 0.33], ids=str)
@pytest.mark.parametrize("length", [1, 700, 5119, RATE, RATE + 1, 3 * RATE - 5])
@torch.inference_mode()
def test_frames_are_the_columns_of_the_shifted_clip(length, clip_sec, passes):
    """Each pass by itself: the clip shifted by zeros, in windows of whole columns, encoded one by one."""
    model, (clip,) = small_audio_model([], cls_token=True), noise(length, 1)
    model.clip_sec = clip_sec
    size = round(clip_sec * RATE)
    hop = model.network.front_end.grid(size)[1] * 5120
    expected = {}
    for number in range(passes):
        shift = number * 5120 // passes
        for start in range(0, length + shift, hop):
            window = torch.nn.functional.pad(clip, (shift, size + hop))[start : start + size]
            for column, embedding in enumerate(model.network.embed_columns(window[None])[0]):
                expected[start + 5120 * column + 2400 - shift] = embedding  # 2400: to the middle of 16 frames, 320 each
    inside = sorted(time for time in expected if 0 <= time < length)
    inside = inside or [min(time for time in expected if time >= 0)]
    frames, times = model.frame_embeddings(clip[None], RATE, passes)
    np.testing.assert_array_equal(times, np.array(inside) / RATE)
    torch.testing.assert_close(frames[0], torch.stack([expected[time] for time in inside]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("passes", [1, 4])
@pytest.mark.parametrize("clip_sec", [1.0, 0.33], ids=str)
@pytest.mark.parametrize("seconds, rate", [(0.05, RATE), (0.99, RATE), (2.9, 44100), (20.0, 8000)])
@torch.inference_mode()
def test_frames_of_a_file_that_is_read_in_blocks_are_those_of_its_waveform(tmp_path, seconds, rate, clip_sec, passes):
    path = write_tone(tmp_path / "a.wav", seconds, rate)
    model = small_audio_model()
    model.clip_sec = clip_sec
    waveform = torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None]
    expected, expected_times = model.frame_embeddings(waveform, rate, passes)
    frames, times = encode_file(FrameEncoder(model, passes), str(path))
    assert torch.equal(times, expected_times)
    torch.testing.assert_close(frames, expected[0], atol=1e-6, rtol=1e-5)


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


@pytest.mark.parametrize("rate", [RATE, 22050])
@pytest.mark.parametrize("labels", [MODEL_LABELS, []])
@torch.inference_mode()
def test_a_clip_of_a_padded_batch_is_what_it_is_alone(labels, rate):
    """Clips shorter than a patch, than a window, and of several windows; the padding may hold anything."""
    model, lengths = small_audio_model(labels), [300, rate // 3, rate // 2, rate, rate + 1, 3 * rate - 5]
    clips = [noise(length, 1)[0] for length in lengths]
    padded = torch.stack([torch.nn.functional.pad(clip, (0, 3 * rate - len(clip)), value=0.5) for clip in clips])
    padded[0, -1] = float("nan")
    together = model(padded, rate, lengths=torch.tensor(lengths))
    alone = [model(clip[None], rate) for clip in clips]
    torch.testing.assert_close(together.embedding, torch.cat([each.embedding for each in alone]), atol=1e-5, rtol=0)
    if labels:
        torch.testing.assert_close(together.logits, torch.cat([each.logits for each in alone]), atol=1e-5, rtol=0)
    without = model(padded[1:3], rate).embedding
    assert (together.embedding[1:3] - without).abs().max() > 1e-2, "the padding makes a difference here"


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "uint32", "int64"])
@torch.inference_mode()
def test_lengths_may_be_integers_of_any_kind(kind):
    model, waveform = small_audio_model(), noise(40000)
    expected = model(waveform, RATE, lengths=[100, 127]).logits
    assert torch.equal(model(waveform, RATE, lengths=np.array([100, 127], dtype=kind)).logits, expected)


@pytest.mark.parametrize("lengths", [[100], [0, 100], [100, 101], [1, 2, 3], [1.5, 2], 100])
def test_lengths_that_are_not_of_the_clips_are_refused(lengths):
    with pytest.raises(ValueError, match="lengths of 2 clips, each from 1 to 100 samples, found "):
        small_audio_model()(torch.zeros(2, 100), RATE, lengths=lengths)


@torch.inference_mode()
def test_samples_of_another_scale_are_warned_of_once_or_named(caplog):
    model, clips = small_audio_model(), noise(RATE)
    expected = model(clips, RATE)
    model(8 * clips / clips.abs().max(), RATE)  # loud, as floats above full scale may be
    assert not caplog.records
    named = model(32768 * clips, RATE, scale=32768)
    torch.testing.assert_close(named.embedding, expected.embedding, atol=1e-5, rtol=0)
    assert not caplog.records
    for _ in range(2):
        model(1000 * clips / clips.abs().max(), RATE)
    (record,) = caplog.records
    assert "found a peak of 1000; if they have another, name it, for example scale=32768" in record.getMessage()


@torch.inference_mode()
def test_samples_beyond_what_float32_can_sum_are_refused_unless_their_scale_is_named():
    model, waveform = small_audio_model(), noise(4000).double()
    with pytest.raises(ValueError, match=r"full scale of 1, found a peak of [\d.e+]+ times that; name their scale"):
        model(waveform * 1e50, RATE)
    expected = model(waveform.float(), RATE).logits
    torch.testing.assert_close(model(waveform * 1e50, RATE, scale=1e50).logits, expected)


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_no_scale_is_refused(scale):
    with pytest.raises(ValueError, match=f"full scale of the samples as a positive number, found {scale}"):
        small_audio_model()(torch.zeros(1, 100), RATE, scale=scale)


@pytest.mark.parametrize(
    "waveform, rate, match",
    [
        (torch.zeros(1, 100), 32000.0, "positive whole number of Hz, found 32000.0"),
        (torch.zeros(1, 100), "32k", "positive whole number of Hz, found '32k'"),
        (torch.zeros(1, 100), True, "positive whole number of Hz, found True"),
        (torch.zeros(1, 100), 0, "positive whole number of Hz, found 0"),
        (torch.zeros(100), RATE, r"\(B, T\), found torch.float32 \(100,\); for a single clip: clip\[None\]"),
        (torch.zeros(1, 100, dtype=torch.int16), RATE, "tensor of floats.*found torch.int16"),
        (np.zeros((1, 100)), RATE, "found ndarray"),
        (torch.zeros(1, 0), RATE, r"with samples, found the shape \(1, 0\)"),
        (torch.full((1, 100), float("nan")), RATE, "finite samples, found NaN"),
        (torch.zeros(1, 1), 192000, "at least one sample at 32000 Hz, found 1 at 192000 Hz"),
    ],
)
@pytest.mark.parametrize("lengths", [None, [1]])
def test_what_is_no_audio_is_refused(waveform, rate, match, lengths):
    with pytest.raises(ValueError, match=match):
        small_audio_model()(waveform, rate, lengths=lengths)


def test_passes_that_do_not_divide_a_column_are_refused():
    with pytest.raises(ValueError, match="divides the 5120 samples of a column of patches, found 3"):
        small_audio_model().frame_embeddings(noise(RATE), RATE, passes=3)


def without(path, name):
    (path / name).unlink()


def cut_off(path, name):
    (path / name).write_bytes((path / name).read_bytes()[:-100])


def edited(path, **fields):
    config = json.loads((path / "config.json").read_text())
    config.update(fields)
    (path / "config.json").write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


def weighted(path, name, value):
    weights = load_file(path / "model.safetensors")
    save_file({**weights, name: torch.full_like(weights[name], value)}, path / "model.safetensors")


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
        (
            lambda path: edited(path, hidden_size=64),
            r"hidden_size 64, .* found .* of shape \(96, 32\), not \(192, 64\)",
        ),
        (lambda path: edited(path, hidden_size="x"), "expected hidden_size to be a whole number from 4 .*, found 'x'"),
        (lambda path: edited(path, hidden_size=0), "config.json: expected hidden_size to be .*, found 0"),
        (lambda path: edited(path, hidden_size=-1), "config.json: expected hidden_size to be .*, found -1"),
        (lambda path: edited(path, num_hidden_layers=10**9), "expected num_hidden_layers to be a whole number from 1"),
        (
            lambda path: edited(path, num_attention_heads=5),
            "found one that makes none: .* heads divide, found 32 and 5",
        ),
        (lambda path: edited(path, sampling_rate=1e400), "expected sampling_rate to be .*, found inf"),
        (lambda path: edited(path, clip_sec=0.1), "expected clips of at least 16 frames"),
        (lambda path: edited(path, layer_norm_eps=1e-5), "expected layer_norm_eps to be 1e-06, as the other fields"),
        (lambda path: edited(path, id2label={"0": "a", "1": "b"}), "for each of the 3 label_keys, found 2 names"),
        (lambda path: edited(path, problem_type="both"), "expected problem_type to be one of multi_label"),
        (lambda path: weighted(path, "head.bias", float("nan")), "model.safetensors: .* 'head.bias' with NaN"),
        (lambda path: weighted(path, "front_end.mel_std", 0.0), "'front_end.mel_std' with deviations below"),
    ],
)
def test_damaged_folder_is_refused(tmp_path, capsys, damage, match):
    write_folder(small_audio_model(), str(tmp_path / "m"))
    damage(tmp_path / "m")
    with pytest.raises(ValueError, match=match):
        maskspec_fairseq.load_model(str(tmp_path / "m"))
    assert export.main(["--checkpoint", str(tmp_path / "m"), "--out", str(tmp_path / "n")]) == 2
    assert capsys.readouterr().err.startswith("maskspec-export: ") and not (tmp_path / "n").exists()


@pytest.mark.parametrize("labels", [MODEL_LABELS, pytest.param([], marks=pytest.mark.slow)])
@torch.inference_mode()
def test_onnxruntime_gives_the_models_outputs(tmp_path, capsys, recwarn, labels):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = small_audio_model(labels)
    write_folder(model, str(tmp_path / "m"))
    assert export.main(["--checkpoint", str(tmp_path / "m"), "--out", str(tmp_path / "n"), "--onnx"]) == 0
    assert [str(warning.message) for warning in recwarn if warning.category is UserWarning] == []
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
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, NotInstalled())
import maskspec_fairseq
import torch
for name in sys.argv[2:]:
    package = importlib.import_module("maskspec_fairseq." + name)
    for module in pkgutil.iter_modules(getattr(package, "__path__", []), package.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name not in ("gradio", "transformers"):  # extras
                raise
model = maskspec_fairseq.load_model(sys.argv[1])
print(tuple(model(torch.zeros(1, 16000), 16000).logits.shape))
"""


def test_everything_here_is_used_where_there_is_no_fairseq(tmp_path):
    write_folder(small_audio_model(), str(tmp_path / "m"))
    command = [sys.executable, "-c", WITHOUT_FAIRSEQ, str(tmp_path / "m"), *NO_FAIRSEQ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1, 3)"
