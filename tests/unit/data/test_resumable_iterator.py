"""An epoch that is stopped and resumed with other batches, by processes that each have an iterator of their own."""

from collections import Counter

import numpy as np
import pytest
from fairseq.data import FairseqDataset
from fairseq.data.iterators import EpochBatchIterator, GroupedIterator

from maskspec_fairseq.data.resumable_iterator import ResumableIterator

NUM_CLIPS, EPOCH = 43, 3


class Clips(FairseqDataset):
    """Numbers; batches of them are lists."""

    def __getitem__(self, index):
        return int(index)

    def __len__(self):
        return NUM_CLIPS

    def collater(self, samples):
        return samples


def iterators(order, batch_size, num_shards, update_freq):
    batches = [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
    for shard in range(num_shards):
        iterator = EpochBatchIterator(Clips(), list, batches, 7, num_shards, shard, epoch=EPOCH)
        yield ResumableIterator(iterator, update_freq)


def run(order, settings, state, updates):
    """Train on so many updates (None: to the end of the epoch) -> what was heard per update, and the state to save."""
    heard, states = {}, []
    for iterator in iterators(order, *settings):
        if state is not None:
            iterator.load_state_dict(state)
        grouped = GroupedIterator(iterator.next_epoch_itr(), settings[2])
        first = grouped.n
        for number, update in enumerate(grouped):
            heard.setdefault(number, []).append(update)
            if number + 1 == updates:
                break
        assert updates is not None or (not grouped.has_next() and grouped.n == first + len(heard))
        states.append(iterator.state_dict())
    assert all(state == states[0] for state in states)
    return heard, states[0]


def clips_of(heard):
    return Counter(clip for updates in heard.values() for update in updates for batch in update for clip in batch)


@pytest.mark.parametrize("order", [range(NUM_CLIPS), [clip % 30 for clip in range(NUM_CLIPS)]], ids=["all", "drawn"])
@pytest.mark.parametrize(
    "stages",
    [
        [(3, 1, 1), (3, 1, 2)],  # another update_freq
        [(3, 1, 2), (3, 1, 3), (3, 1, 1)],
        [(3, 1, 1), (8, 1, 1)],  # another batch size
        [(3, 1, 2), (3, 2, 1)],  # the same clips per update, by two processes
        [(2, 3, 1), (3, 1, 2)],
        [(2, 3, 1), (2, 1, 1), (2, 1, 1), (5, 2, 1), (1, 1, 4)],
        [(1, 1, 2), (43, 1, 1)],
    ],
    ids=str,
)
def test_an_epoch_that_resumes_with_other_batches_has_every_clip_once(order, stages):
    order = np.random.default_rng(1).permutation(order)
    state, heard = None, Counter()
    for number, settings in enumerate(stages):
        last = number + 1 == len(stages)
        updates, state = run(order, settings, state, updates=None if last else 2)
        heard += clips_of(updates)
        if last:
            batch_size, num_shards, update_freq = settings
            left = NUM_CLIPS - sum(heard.values()) + sum(clips_of(updates).values())
            assert len(updates) == -(-left // (batch_size * num_shards * update_freq))
    assert heard == Counter(order.tolist())
    assert state["epoch"] == EPOCH + 1 and state["iterations_in_epoch"] == 0 and "stages" not in state


@pytest.mark.parametrize("settings", [(3, 1, 1), (2, 3, 2)])
def test_with_unchanged_settings_the_batches_are_fairseqs(settings):
    order = np.random.default_rng(2).permutation(NUM_CLIPS)
    heard, state = run(order, settings, None, updates=3)
    rest, _ = run(order, settings, state, updates=None)
    batch_size, num_shards, update_freq = settings
    for shard in range(num_shards):
        theirs = EpochBatchIterator(
            Clips(), list, [order[i : i + batch_size] for i in range(0, NUM_CLIPS, batch_size)], 7, num_shards, shard,
            epoch=EPOCH,
        )  # fmt: skip
        ours = [*(update[shard] for update in heard.values()), *(update[shard] for update in rest.values())]
        assert ours == list(GroupedIterator(theirs.next_epoch_itr(), update_freq))


def test_what_resumes_with_other_batches_is_logged(caplog):
    order = np.arange(NUM_CLIPS)
    _, state = run(order, (3, 1, 1), None, updates=4)
    caplog.set_level("INFO")
    run(order, (3, 2, 2), state, updates=1)
    assert (
        "epoch 3 resumes with other batches (3 clips x 2 processes x update_freq 2): 31 of its 43 clips are left, "
        "3 updates"
    ) in caplog.text


@pytest.mark.parametrize("num_clips", [30, 60])
def test_an_epoch_of_another_number_of_clips_starts_again(num_clips, caplog):
    _, state = run(range(NUM_CLIPS), (2, 1, 1), None, 5)
    heard, _ = run(range(num_clips), (2, 1, 1), state, None)
    assert clips_of(heard) == Counter(range(num_clips))
    assert f"epoch {EPOCH} starts again: expected its {NUM_CLIPS} clips, found {num_clips}" in caplog.text
