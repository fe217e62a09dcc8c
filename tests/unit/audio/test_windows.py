import numpy as np
import pytest

from maskspec_fairseq.data_dir.manifest import Manifest
from maskspec_fairseq.inference.clip_windows import WindowedClips, windows
from tests.factories import write_tone


@pytest.mark.parametrize(
    "length, starts", [(10, [0]), (14, [0, 4]), (20, [0, 10]), (25, [0, 10, 15]), (30, [0, 10, 20])]
)
def test_every_sample_is_in_a_window(length, starts):
    waveform = np.arange(length)
    assert [window[0] for window in windows(waveform, 10, 10)] == starts
    assert all(len(window) == 10 for window in windows(waveform, 10, 10))
    assert set(windows(waveform, 10, 10).ravel()) == set(waveform)


def test_windows_overlap_by_the_hop_and_short_clips_are_padded():
    assert [window[0] for window in windows(np.arange(20), 10, 4)] == [0, 4, 8, 10]
    assert windows(np.ones(3), 5, 5).tolist() == [[1, 1, 1, 0, 0]]


def test_clips_come_whole_at_the_models_rate(tmp_path):
    write_tone(tmp_path / "a.wav", 1.5, 44100)
    clips = WindowedClips(Manifest(str(tmp_path), ["a.wav"], [66150]), 32000, "mix", 16000, 16000)
    assert len(clips) == 1 and clips[0].shape == (3, 16000) and clips[0].dtype == np.float32
