"""The upstream with a stand-in for s3prl, which is not installed here."""

import pytest
import torch

from maskspec_fairseq.inference.export_folder import write_folder
from tests.factories import noise, s3prl_hubconf, small_audio_model


@pytest.fixture()
def upstream(tmp_path, monkeypatch):
    write_folder(small_audio_model(), str(tmp_path / "m"))
    return s3prl_hubconf(monkeypatch).maskspec(str(tmp_path / "m"), model_config=None)


def test_layers_of_clips_of_several_lengths(upstream):
    wavs = [noise(length, 1)[0] for length in (40000, 16000, 700)]
    with torch.inference_mode():
        output = upstream(wavs)
    layers, last = output["hidden_states"], output["last_hidden_state"]
    rate = upstream.get_downsample_rates("hidden_states")
    assert rate == 2560 and len(layers) == 2 and layers[-1] is last
    assert all(layer.shape == last.shape for layer in layers) and last.shape[::2] == (3, 32)
    assert not torch.allclose(layers[0], layers[1])


@pytest.mark.parametrize("samples", [1, 2560, 2561, 3700, 5120, 40000])
def test_as_many_frames_as_s3prl_expects(upstream, samples):
    with torch.inference_mode():
        last = upstream(list(noise(samples)))["last_hidden_state"]
    assert last.shape[1] == len(range(0, samples, upstream.get_downsample_rates("hidden_states")))


def test_last_layer_is_the_models_frames(upstream):
    clips = noise(17920)  # seven columns
    with torch.inference_mode():
        frames, _ = upstream.model.frame_embeddings(clips, 16000)
        torch.testing.assert_close(upstream(list(clips))["last_hidden_state"], frames)


def test_a_clips_features_do_not_depend_on_its_neighbours(upstream):
    wavs = [noise(length, 1)[0] for length in (40000, 16001, 700)]
    with torch.inference_mode():
        together = upstream(wavs)["hidden_states"]
        for number, wav in enumerate(wavs):
            for layer, alone in zip(together, upstream([wav])["hidden_states"]):
                torch.testing.assert_close(layer[number, : alone.shape[1]], alone[0], atol=1e-5, rtol=0)


def test_missing_checkpoint_is_refused(upstream):
    from maskspec_fairseq.integrations.s3prl import hubconf

    with pytest.raises(ValueError, match="^nowhere.pt: expected a checkpoint .*, found no such file"):
        hubconf.maskspec("nowhere.pt")
