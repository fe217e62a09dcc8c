"""What the processes of a data-parallel run get of an epoch, all together."""

import numpy as np
import pytest

from tests.fairseq_factories import finetuning_task

AUGMENTED = dict(fold=1, wave_mixup=0.5, spec_mixup_alpha=0.3, roll_sec=0.2, gain_db=6.0, clip_sec=0.5)


def clips_of_an_epoch(task, num_shards: int, epoch: int):
    """One dict a shard: clip -> everything that has become of it, by that shard's own dataset."""
    shards = []
    for shard in range(num_shards):
        task.load_dataset("train")
        batches = task.get_batch_iterator(
            task.dataset("train"), max_sentences=3, required_batch_size_multiple=1, num_shards=num_shards,
            shard_id=shard, seed=1, epoch=epoch,
        ).next_epoch_itr()  # fmt: skip
        clips = {}
        for batch in batches:
            for row, clip in enumerate(batch["id"].tolist()):
                assert clip not in clips
                parts = [*batch["net_input"].values(), batch["target"]]
                clips[clip] = np.concatenate([np.asarray(part[row], dtype=np.float64).ravel() for part in parts])
        shards.append(clips)
    return shards


@pytest.mark.parametrize("sampling", [{}, dict(clip_sampling="psla", num_draws=11)], ids=["all", "drawn"])
def test_every_clip_of_an_epoch_is_in_one_shard_and_as_in_any_other_split(folds, sampling):
    task = finetuning_task(folds, **AUGMENTED, **sampling)
    (whole,) = clips_of_an_epoch(task, 1, epoch=2)
    assert len(whole) == sampling.get("num_draws", 16)
    for num_shards in (2, 3):
        shards = clips_of_an_epoch(task, num_shards, epoch=2)
        assert sum(map(len, shards)) == len(whole) and all(shards)
        for clips in shards:
            assert all(np.array_equal(value, whole[clip]) for clip, value in clips.items())
    assert len({value.tobytes() for value in whole.values()}) == len(whole)  # no two clips are augmented alike
    (other,) = clips_of_an_epoch(task, 1, epoch=3)
    assert all(not np.array_equal(other[clip], whole[clip]) for clip in set(other) & set(whole))
