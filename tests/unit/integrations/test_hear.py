"""The checks of the HEAR validator, whose own package needs TensorFlow and knows no 32 kHz."""

import pytest
import torch

import maskspec_fairseq
from maskspec_fairseq.inference.export_folder import write_folder
from maskspec_fairseq.integrations import hear
from tests.factories import noise, small_audio_model


@pytest.fixture(params=[True, False], ids=["finetuned", "pretrained"])
def model(request, tmp_path):
    write_folder(small_audio_model() if request.param else small_audio_model([]), str(tmp_path / "m"))
    return hear.load_model(str(tmp_path / "m"))


def test_model_says_what_it_takes_and_gives(model):
    assert isinstance(model, torch.nn.Module)
    assert type(model.sample_rate) is int and model.sample_rate in (16000, 22050, 32000, 44100, 48000)
    assert type(model.scene_embedding_size) is int and type(model.timestamp_embedding_size) is int


@pytest.mark.parametrize("seconds, sounds", [(1.07, 2), (1.98, 2), (4.0, 2), (2.74, 4), (0.05, 1)])
def test_timestamp_embeddings_pass_the_validators_checks(model, seconds, sounds):
    audio = 2 * torch.rand(sounds, int(seconds * model.sample_rate)) - 1
    embeddings, timestamps = hear.get_timestamp_embeddings(audio, model)
    assert embeddings.dtype == torch.float32 and not embeddings.requires_grad
    assert embeddings.shape == (sounds, timestamps.shape[1], model.timestamp_embedding_size)
    assert timestamps.shape[0] == sounds and torch.equal(timestamps, timestamps[:1].expand(sounds, -1))
    assert timestamps[0, 0] >= 0 and timestamps[0, -1] <= 1000 * seconds
    if timestamps.shape[1] > 1:
        hop = timestamps.diff().mean()
        assert hop <= 50 and (timestamps.diff() - hop).abs().max() < 1e-3
        assert timestamps[0, 0] <= hop and timestamps[0, -1] >= 1000 * seconds - 2 * hop


@pytest.mark.parametrize("seconds, sounds", [(1.07, 2), (3.74, 8)])
def test_scene_embeddings_pass_the_validators_checks(model, seconds, sounds):
    audio = 2 * torch.rand(sounds, int(seconds * model.sample_rate)) - 1
    embeddings = hear.get_scene_embeddings(audio, model)
    assert embeddings.dtype == torch.float32 and embeddings.shape == (sounds, model.scene_embedding_size)


@torch.no_grad()
def test_embeddings_are_those_of_the_model_loaded_plainly(model, tmp_path):
    plain, audio = maskspec_fairseq.load_model(str(tmp_path / "m")), noise(50000)
    assert torch.equal(hear.get_scene_embeddings(audio, model), plain(audio, 32000).embedding)
    frames, times = plain.frame_embeddings(audio, 32000, passes=4)
    embeddings, timestamps = hear.get_timestamp_embeddings(audio, model)
    assert torch.equal(embeddings, frames) and torch.equal(timestamps[0], (1000 * times).float())


def test_a_model_without_weights_is_refused():
    with pytest.raises(ValueError, match="as model_file_path, found none"):
        hear.load_model()
