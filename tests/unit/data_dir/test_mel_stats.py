import json
import math

import numpy as np
import pytest

from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.mel_stats import pool_statistics, read_all_mel_statistics, write_mel_statistics


def test_pooled_statistics_are_those_of_all_frames_together():
    rng = np.random.default_rng(1)
    subsets = [
        rng.normal(shift, scale, (frames, 4)) for shift, scale, frames in ((0, 1, 50), (3, 2, 7), (-1, 0.1, 200))
    ]
    parts = [dict(frames=len(x), mean=x.mean(axis=0).tolist(), std=x.std(axis=0).tolist()) for x in subsets]
    mean, std = pool_statistics(parts)
    np.testing.assert_allclose(mean, np.concatenate(subsets).mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(std, np.concatenate(subsets).std(axis=0), atol=1e-12)


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("frames", 0, "frames to be a whole number from 1 to .*, found 0"),
        ("frames", math.nan, "frames to be a whole number from 1 to .*, found nan"),
        ("mean", [0.0, math.nan, 0.0, 0.0], "mean to be a list of length 4, of which each item is a number from"),
        ("std", [1.0, 1.0, 1.0], "std to be a list of length 4"),
        ("std", [1.0, -1.0, 1.0, 1.0], "std to be a list of length 4, of which each item is a number from 0"),
        ("std", "1111", "std to be a list of length 4"),
        (None, [1], r"a table of fields, found \[1\]"),
    ],
)
def test_statistics_that_cannot_be_are_named_by_subset_and_field(tmp_path, field, value, message):
    path, good = tmp_path / "mel_stats.json", {"frames": 9, "mean": [0.0] * 4, "std": [1.0] * 4}
    bad = {**good, field: value} if field else value
    settings = {"front_end": {"profile": "paper", "n_mels": 4}}
    write_mel_statistics(path, settings, {"train": good, "valid": bad}, {})
    with pytest.raises(ManifestError, match=f"mel_stats.json: paper: subsets: valid: expected {message}"):
        read_all_mel_statistics(tmp_path)


@pytest.mark.parametrize(
    "content, message",
    [
        ([], r"expected a table of fields, found \[\]"),
        ({"paper": 1}, "paper: expected a table of fields, found 1"),
        ({"paper": {"subsets": {}}}, "paper: expected the field 'front_end', found none"),
        ({"paper": {"subsets": {}, "front_end": {"n_mels": 10**9}}}, "paper: front_end: expected n_mels to be a whole"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, content, message):
    (tmp_path / "mel_stats.json").write_text(json.dumps(content))
    with pytest.raises(ManifestError, match=f"mel_stats.json: {message}"):
        read_all_mel_statistics(tmp_path)
