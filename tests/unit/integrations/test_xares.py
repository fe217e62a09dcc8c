"""The checks of xares, which is not installed here: xares/audio_encoder_checker.py."""

import pytest
import torch
from torch import nn

from maskspec_fairseq.inference.export_folder import write_folder
from maskspec_fairseq.integrations import hear, xares
from tests.factories import noise, small_audio_model


@pytest.fixture(params=["mean", "frequency+std"])
def folder(request, tmp_path):
    write_folder(small_audio_model([], pool=request.param), str(tmp_path / "m"))
    return str(tmp_path / "m")


@pytest.fixture()
def encoder(folder):
    return xares.MaskSpecEncoder(folder)


def test_xares_finds_the_class_of_a_users_file_by_its_name(folder):
    class MyRunEncoder(xares.MaskSpecEncoder):
        def __init__(self):
            super().__init__(folder)

    encoder = MyRunEncoder()
    assert type(encoder).__name__.endswith("Encoder") and isinstance(encoder, nn.Module)
    assert encoder(torch.randn(2, 50000)).shape[::2] == (2, encoder.output_dim)
    assert [name for name in dir(xares) if name.endswith("Encoder")] == ["MaskSpecEncoder"]


def test_frames_are_as_far_apart_as_it_says(encoder):
    assert type(encoder.sampling_rate) is int and type(encoder.output_dim) is int
    assert encoder.hop_size_in_ms == 40
    short, long = (encoder(noise(seconds * encoder.sampling_rate)).shape[1] for seconds in (3, 13))
    assert (long - short) * encoder.hop_size_in_ms == 10000


def test_frames_are_the_timestamps_of_hear(encoder, folder):
    audio = noise(50000)
    expected, _ = hear.get_timestamp_embeddings(audio, hear.load_model(folder))
    frames = encoder(audio)
    assert torch.equal(frames, expected) and frames.dtype == torch.float32 and not frames.requires_grad


def test_a_missing_checkpoint_is_refused():
    with pytest.raises(ValueError, match="nowhere.pt"):
        xares.MaskSpecEncoder("nowhere.pt")
