import json

import numpy as np
import pytest
import torch

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import load_clip
from maskspec_fairseq.data.measure_mel import measure_mel_statistics, sample_of_clips
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.manifest import read_manifest
from maskspec_fairseq.data_dir.mel_stats import read_all_mel_statistics, read_mel_statistics, write_mel_statistics
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


def write(directory, front_end, clip_sec=2.0, **subsets):
    settings = {"front_end": LogMel(front_end).settings(), "channel": "mix", "clip_sec": clip_sec}
    path = directory / "mel_stats.json"
    write_mel_statistics(path, settings, subsets, keep=read_all_mel_statistics(directory))
    return json.loads(path.read_text())


def test_profiles_and_subsets_stand_side_by_side_in_the_file(tmp_path, files):
    one, two = (measure_mel_statistics(LogMel(), part, 2.0, "mix")[0] for part in (files[:4], files[4:8]))
    write(tmp_path, "paper", fold1=one)
    write(tmp_path, "reference", fold1=two)
    entries = write(tmp_path, "paper", fold2=two)
    assert {name: sorted(entry["subsets"]) for name, entry in entries.items()} == {
        "paper": ["fold1", "fold2"], "reference": ["fold1"],
    }  # fmt: skip
    assert entries["reference"]["front_end"]["preemphasis"] == 0.97
    # with other settings the earlier ones would contradict it
    assert list(write(tmp_path, "paper", clip_sec=5.0, fold2=two)["paper"]["subsets"]) == ["fold2"]


def test_subsets_together_are_as_if_measured_together(tmp_path, files):
    parts = {f"fold{n}": measure_mel_statistics(LogMel(), files[n : 3 * n], 2.0, "mix")[0] for n in (2, 6)}
    whole = measure_mel_statistics(LogMel(), files[2:6] + files[6:18], 2.0, "mix")[0]
    write(tmp_path, "paper", **parts)
    mean, std = read_mel_statistics(tmp_path, LogMel().settings(), ["fold2", "fold6"])
    np.testing.assert_allclose(mean, whole["mean"], atol=1e-5)
    np.testing.assert_allclose(std, whole["std"], atol=1e-5)
    mean, std = read_mel_statistics(tmp_path, LogMel().settings(), ["fold2"])
    np.testing.assert_allclose((mean, std), (parts["fold2"]["mean"], parts["fold2"]["std"]), atol=1e-9)


def test_missing_or_foreign_statistics_are_refused_with_the_cure(tmp_path, data_dir):
    with pytest.raises(ManifestError, match="front end 'paper', found no such file; run `maskspec-build stats"):
        read_mel_statistics(tmp_path, LogMel().settings(), ["train"])
    with pytest.raises(ManifestError, match=r"front end 'reference', found those of paper; .* --front-end reference"):
        read_mel_statistics(data_dir, LogMel("reference").settings(), ["train"])
    with pytest.raises(ManifestError, match=r"\(sample_rate: expected 48000, found 32000\); .* --sample-rate 48000"):
        read_mel_statistics(data_dir, LogMel(sample_rate=48000).settings(), ["train"])
    with pytest.raises(ManifestError, match="statistics of fold1, fold3, found those of train; .* fold1,train,fold3 "):
        read_mel_statistics(data_dir, LogMel().settings(), ["fold1", "train", "fold3"])
    (tmp_path / "mel_stats.json").write_text("{")
    with pytest.raises(ManifestError, match="mel_stats.json: expected JSON"):
        read_mel_statistics(tmp_path, LogMel().settings(), ["train"])
