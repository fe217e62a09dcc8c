import json

import numpy as np
import pytest
import torch

from maskspec_fairseq.data.audio import AudioError, load_clip
from maskspec_fairseq.data.mel_statistics import (
    measure_mel_statistics,
    read_all_mel_statistics,
    read_mel_statistics,
    sample_of_clips,
    write_mel_statistics,
)
from maskspec_fairseq.manifest import ManifestError, read_manifest
from maskspec_fairseq.modules.log_mel import LogMel


@pytest.fixture()
def files(data_dir):
    manifest = read_manifest(data_dir / "train.tsv")
    return [manifest.full_path(index) for index in range(len(manifest))]


def test_are_the_mean_and_deviation_of_the_frames_without_padding(files):
    front_end = LogMel("reference", mel_jitter=True)
    entry, left_out = measure_mel_statistics(front_end, files, clip_sec=2.0, channel="mix")
    frames = []
    for file in files:
        waveform, num_samples = load_clip(file, 32000, clip_sec=2.0)
        mel = LogMel("reference").eval().log_mel(torch.from_numpy(waveform)[None])[0].numpy()
        frames.append(mel[:, : 1 + num_samples // 320])
    frames = np.concatenate(frames, axis=1)
    assert entry["clips"] == len(files) and entry["frames"] == frames.shape[1] and left_out == []
    np.testing.assert_allclose(entry["mean"], frames.mean(1), atol=1e-4)
    np.testing.assert_allclose(entry["std"], frames.std(1), atol=1e-4)
    assert entry["front_end"]["profile"] == "reference" and entry["front_end"]["preemphasis"] == 0.97


def test_unreadable_clips_are_left_out_and_named(files):
    entry, left_out = measure_mel_statistics(LogMel(), [*files[:3], "/no/such.wav"], 2.0, "mix")
    assert entry["clips"] == 3 and len(left_out) == 1 and "/no/such.wav" in left_out[0]
    with pytest.raises(AudioError, match="found none that can be read; .*such.wav"):
        measure_mel_statistics(LogMel(), ["/no/such.wav"], 2.0, "mix")


def test_sample_of_clips_is_drawn_by_the_seed():
    assert sample_of_clips(5, 10, seed=1) == [0, 1, 2, 3, 4]
    chosen = sample_of_clips(1000, 10, seed=1)
    assert chosen == sorted(set(chosen)) and len(chosen) == 10 and max(chosen) > 500
    assert chosen == sample_of_clips(1000, 10, seed=1) != sample_of_clips(1000, 10, seed=2)


def test_profiles_stand_side_by_side_in_the_file(tmp_path, files):
    for profile in ("paper", "reference"):
        entry, _ = measure_mel_statistics(LogMel(profile), files[:4], 2.0, "mix")
        write_mel_statistics(tmp_path / "mel_stats.json", entry, keep=read_all_mel_statistics(tmp_path))
    for profile in ("paper", "reference"):
        mean, _ = read_mel_statistics(tmp_path, LogMel(profile))
        assert mean == json.loads((tmp_path / "mel_stats.json").read_text())[profile]["mean"]


def test_missing_or_foreign_statistics_are_refused_with_the_cure(tmp_path, data_dir):
    with pytest.raises(
        ManifestError, match="profile 'paper', found no such file; run `python manifests/build.py stats"
    ):
        read_mel_statistics(tmp_path, LogMel())
    with pytest.raises(ManifestError, match=r"profile 'reference', found profiles \['paper'\]; .* --profile reference"):
        read_mel_statistics(data_dir, LogMel("reference"))
    with pytest.raises(ManifestError, match=r"\(sample_rate: expected 48000, found 32000\); .* --sample-rate 48000"):
        read_mel_statistics(data_dir, LogMel(sample_rate=48000))
    (tmp_path / "mel_stats.json").write_text("{")
    with pytest.raises(ManifestError, match="mel_stats.json: expected JSON"):
        read_mel_statistics(tmp_path, LogMel())
