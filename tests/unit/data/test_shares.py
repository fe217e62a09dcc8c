"""An epoch shared between several training processes, each simulated with its own iterator."""

import pytest

pytest.importorskip("fairseq", reason="fairseq makes the shares of an epoch")
from benchmarks.growth import BATCH, shares


@pytest.mark.parametrize("processes", range(1, 9))
@pytest.mark.parametrize("clips", [1, 500, 64 * 24, 64 * 24 + 1])
def test_every_clip_is_in_one_share_and_shares_are_even_to_one_batch(clips, processes):
    found = shares(clips, processes)
    assert len(found) == processes
    assert sorted(clip for share in found for batch in share for clip in batch) == list(range(clips))
    sizes = [len(share) for share in found]
    assert max(sizes) - min(sizes) <= 1 and sum(sizes) == -(-clips // BATCH)
