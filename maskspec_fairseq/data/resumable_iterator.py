"""The training iterator: fairseq's, which resumes within an epoch with other batches too."""

import itertools
import logging
from typing import Any

import numpy as np
from fairseq.data.iterators import EpochBatchIterator

logger = logging.getLogger(__name__)

Batches = list[list[int]]


class ResumableIterator(EpochBatchIterator):
    """Batches of an epoch's clips; a run that resumes within an epoch trains on the clips that it has not had.

    fairseq saves the number of batches, which says nothing where the batch size, `update_freq` or the number of
    processes has changed. Here the state also has the stages of the epoch: batch size, number of processes, and number
    of batches that each process has taken. The clips left after a stage are put into new batches. With unchanged
    settings a stage continues, and the batches are exactly fairseq's.

    Args:
        iterator: the one that fairseq has made for the epoch.
        update_freq: batches per update and process.
    """

    def __init__(self, iterator: EpochBatchIterator, update_freq: int) -> None:
        self.__dict__.update(vars(iterator))
        self.update_freq = update_freq
        self._batch_size = max(map(len, self.frozen_batches), default=0)
        self._num_clips = sum(map(len, self.frozen_batches))
        self._finished: list[list[int]] = []  # stages before the current one
        self._start = 0  # the position in the epoch that the current stage counts from; fairseq groups updates by it

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        if state["iterations_in_epoch"]:
            stage = [self._batch_size, self.num_shards, state["iterations_in_epoch"] - self._start]
            state.update(stages=[*self._finished, stage], start=self._start, clips=self._num_clips)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state, which may be one that fairseq saved, for the same settings."""
        state = dict(state_dict)
        *self._finished, stage = state.pop("stages", [None])
        self._start = state.pop("start", 0)
        clips = state.pop("clips", self._num_clips)
        if clips != self._num_clips:
            logger.warning(
                "epoch %d starts again: expected its %d clips, found %d, so which of them it has had cannot be told",
                *(state["epoch"], clips, self._num_clips),
            )
            self._finished, self._start, stage, state["iterations_in_epoch"] = [], 0, None, 0
        position = state["iterations_in_epoch"]  # fairseq groups batches into updates by it
        changed = stage and stage[:2] != [self._batch_size, self.num_shards]
        if stage and (changed or position % self.update_freq):
            self._finished.append(stage)
            left = sum(map(len, self._batches_left(state["epoch"], state["shuffle"])))
            per_update = self._batch_size * self.num_shards * self.update_freq
            self._start = state["iterations_in_epoch"] = self.update_freq * ((self._num_clips - left) // per_update)
            logger.info(
                "epoch %d resumes with other batches (%d clips x %d processes x update_freq %d): %d of its %d clips "
                "are left, %d updates",
                *(state["epoch"], self._batch_size, self.num_shards, self.update_freq, left, self._num_clips),
                -(-left // per_update),
            )
        super().load_state_dict(state)

    def ordered_batches(self, epoch: int, fix_batches_to_gpus: bool, shuffle: bool) -> Batches:
        if not self._finished:
            return super().ordered_batches(epoch, fix_batches_to_gpus, shuffle)
        batches = self._batches_left(epoch, shuffle)
        # fairseq skips as many as were taken before
        return [[]] * self._start + self._share(batches, self.num_shards, self.shard_id, epoch, shuffle)

    def _batches_left(self, epoch: int, shuffle: bool) -> Batches:
        """The clips that no finished stage has taken, in batches of the current size."""
        clips = np.concatenate(self.frozen_batches)
        for size, num_shards, taken in self._finished:
            batches = _split(clips, size)
            shares = [self._share(batches, num_shards, shard, epoch, shuffle)[taken:] for shard in range(num_shards)]
            clips = np.concatenate([np.asarray(batch, dtype=np.int64) for batch in itertools.chain(*zip(*shares))])
        return _split(clips, self._batch_size)

    def _share(self, batches: Batches, num_shards: int, shard: int, epoch: int, shuffle: bool) -> Batches:
        """What fairseq gives to one of several processes, in its order."""
        iterator = EpochBatchIterator(
            self.dataset, None, batches, self.seed, num_shards, shard, grouped_shuffling=self.grouped_shuffling
        )
        return iterator.ordered_batches(epoch, False, shuffle)


def _split(clips: np.ndarray, size: int) -> Batches:
    return [clips[first : first + size].tolist() for first in range(0, len(clips), size)]
