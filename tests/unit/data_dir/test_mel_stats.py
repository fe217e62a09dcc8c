import numpy as np

from maskspec_fairseq.data_dir.mel_stats import pool_statistics


def test_pooled_statistics_are_those_of_all_frames_together():
    rng = np.random.default_rng(1)
    subsets = [
        rng.normal(shift, scale, (frames, 4)) for shift, scale, frames in ((0, 1, 50), (3, 2, 7), (-1, 0.1, 200))
    ]
    parts = [dict(frames=len(x), mean=x.mean(axis=0).tolist(), std=x.std(axis=0).tolist()) for x in subsets]
    mean, std = pool_statistics(parts)
    np.testing.assert_allclose(mean, np.concatenate(subsets).mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(std, np.concatenate(subsets).std(axis=0), atol=1e-12)
