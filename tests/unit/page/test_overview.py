"""The picture of a whole file, read in blocks, against the log-mel of its waveform."""

import numpy as np
import pytest
import soundfile
import torch

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import load_clip
from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.page import overview
from maskspec_fairseq.page.overview import read_overview
from tests.factories import write_tone


def whole_log_mel(front_end, path):
    """(F, S), dB: the power whose natural logarithm the front end takes, and its own scale undone."""
    waveform, _ = load_clip(str(path), front_end.sample_rate)
    log_mel = front_end.log_mel(torch.from_numpy(waveform)[None])[0] * front_end.params.log_scale
    return 10 * (log_mel - front_end.params.log_shift).numpy() / np.log(10)


def front_end_of(name, rate, **kwargs):
    front_end = LogMel(name, rate, **kwargs)
    front_end.set_statistics(np.linspace(-6, -2, front_end.n_mels), np.linspace(1, 3, front_end.n_mels))
    return front_end


@pytest.mark.parametrize("name, rate, patch_size", [("paper", 32000, 16), ("audiomae", 16000, [16, 4])], ids=str)
def test_blocks_give_the_log_mel_of_the_whole_file(tmp_path, name, rate, patch_size):
    path = write_tone(tmp_path / "a.wav", 11.3, 44100, channels=2)
    front_end = front_end_of(name, rate, patch_size=patch_size)
    progress = []
    found = read_overview(front_end, str(path), "mix", progress.append)
    expected = whole_log_mel(front_end, path)
    assert found.end_sec == pytest.approx(11.3, abs=1e-3) and found.column_sec == pytest.approx(0.01)
    assert found.decibels.shape == (128, 1130)
    inner = slice(4, 1110)  # frames that see no end of the file
    np.testing.assert_allclose(found.decibels[:, inner], expected[:, inner], atol=0.01)
    assert len(progress) == 3 and progress == sorted(progress) and progress[-1] == pytest.approx(1, abs=1e-3)


def test_a_column_of_a_long_file_is_the_loudest_of_its_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(overview, "MAX_COLUMNS", 100)
    path = write_tone(tmp_path / "a.wav", 6.0, 32000)
    front_end = front_end_of("paper", 32000)
    found = read_overview(front_end, str(path), "mix")
    assert found.decibels.shape == (128, 100) and found.column_sec == pytest.approx(0.06)
    expected = whole_log_mel(front_end, path)[:, :588].reshape(128, 98, 6).max(axis=2)
    np.testing.assert_allclose(found.decibels[:, 1:98], expected[:, 1:], atol=0.01)


@pytest.mark.parametrize("samples", [1, 100, 32000])
def test_a_file_of_any_length_has_a_column(tmp_path, samples):
    soundfile.write(tmp_path / "a.wav", np.full(samples, 0.1), 32000)
    found = read_overview(front_end_of("paper", 32000), str(tmp_path / "a.wav"), "mix")
    assert found.decibels.shape == (128, -(-samples // 320)) and np.isfinite(found.decibels).all()
    assert found.end_sec == pytest.approx(samples / 32000)


def test_what_is_not_audio_is_refused(tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "empty.wav").write_bytes(b"")
    whole = write_tone(tmp_path / "whole.flac", 2.0).read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    front_end = front_end_of("paper", 32000)
    for name in ("text.wav", "empty.wav", "cut.flac"):
        with pytest.raises(AudioError, match=f"{name}: expected"):
            read_overview(front_end, str(tmp_path / name), "mix")
