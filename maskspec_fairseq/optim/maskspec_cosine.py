"""Learning-rate schedule `maskspec_cosine`: linear warm-up and cosine decay, set in epochs, computed per update.

Source: MaskSpec, arXiv:2204.12768, section 3.1 (cosine decay, 40 epochs of warm-up out of 80).
"""

import logging
import math
from dataclasses import dataclass, field
from typing import Any, Dict, List

from fairseq.dataclass import FairseqDataclass
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler
from omegaconf import II

from maskspec_fairseq.fairseq_compat import get_batches_per_epoch
from maskspec_fairseq.registered_names import LR_SCHEDULER

logger = logging.getLogger(__name__)


@dataclass
class MaskSpecCosineConfig(FairseqDataclass):
    warmup_epochs: float = field(default=40.0, metadata={"help": "epochs of linear warm-up"})
    min_lr: float = field(default=0.0, metadata={"help": "learning rate at the end of the last epoch"})
    lr: List[float] = II("optimization.lr")
    max_epoch: int = II("optimization.max_epoch")
    update_freq: List[int] = II("optimization.update_freq")
    skip_remainder_batch: bool = II("optimization.skip_remainder_batch")


def cosine_lr(updates: float, warmup: float, total: float, peak: float, floor: float) -> float:
    """Learning rate of the update that follows `updates` others.

    The first update has peak / warmup, the last one of the warm-up has the peak: no update is wasted on a learning
    rate of 0.

    Args:
        updates: number of updates before this one.
        warmup: length of the warm-up in updates.
        total: length of the run in updates.
        peak: learning rate at the end of the warm-up.
        floor: learning rate at the end of the run.
    """
    if updates < warmup:
        return peak * min(1.0, (updates + 1) / warmup)
    progress = min(1.0, (updates - warmup) / (total - warmup))
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * progress))


@register_lr_scheduler(LR_SCHEDULER, dataclass=MaskSpecCosineConfig)
class MaskSpecCosineSchedule(FairseqLRScheduler):
    """The schedule of `cosine_lr` over `optimization.max_epoch` epochs.

    The length of an epoch is taken from the training iterator and saved with the schedule. A run that resumes with
    epochs of another length (more GPUs, another batch size) continues from the epoch that it had reached.

    Raises:
        ValueError: settings of `optimization` or `lr_scheduler` that the schedule cannot follow.
    """

    def __init__(self, cfg: MaskSpecCosineConfig, optimizer) -> None:
        super().__init__(cfg, optimizer)
        if cfg.max_epoch <= 0:
            raise ValueError(f"expected optimization.max_epoch (or lr_scheduler's) above 0, found {cfg.max_epoch}")
        if not 0 <= cfg.warmup_epochs < cfg.max_epoch:
            raise ValueError(
                f"expected lr_scheduler.warmup_epochs from 0 to below its max_epoch ({cfg.max_epoch}), "
                f"found {cfg.warmup_epochs}"
            )
        if len(cfg.lr) != 1 or len(cfg.update_freq) != 1:
            raise ValueError(
                "expected one value in optimization.lr and in optimization.update_freq for maskspec_cosine, "
                f"found {list(cfg.lr)} and {list(cfg.update_freq)}"
            )
        if cfg.skip_remainder_batch:
            raise ValueError(
                "expected optimization.skip_remainder_batch=false for maskspec_cosine, which counts every batch of an "
                "epoch, found true"
            )
        self._updates_per_epoch = 0  # not known yet
        self._since_update, self._since_epoch = 0, 0.0
        self._saved: Dict[str, Any] = {}  # lr and max_epoch of the checkpoint, until the first update

    def state_dict(self) -> Dict[str, Any]:
        return {
            "best": self.best,
            "updates_per_epoch": self._updates_per_epoch,
            "since_update": self._since_update,
            "since_epoch": self._since_epoch,
            "lr": self.optimizer.get_lr(),
            "max_epoch": self.cfg.max_epoch,
        }

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._updates_per_epoch = state_dict["updates_per_epoch"]
        self._since_update = state_dict["since_update"]
        self._since_epoch = state_dict["since_epoch"]
        self._saved = {name: state_dict[name] for name in ("lr", "max_epoch") if name in state_dict}

    def step_update(self, num_updates: int) -> float:
        """Set the learning rate of the update that follows `num_updates` others."""
        self._learn_epoch_length(num_updates)
        if self._updates_per_epoch:
            per_epoch = self._updates_per_epoch
            updates = self._since_epoch * per_epoch + (num_updates - self._since_update)
            self.optimizer.set_lr(
                cosine_lr(
                    updates,
                    warmup=self.cfg.warmup_epochs * per_epoch,
                    total=self.cfg.max_epoch * per_epoch,
                    peak=self.cfg.lr[0],
                    floor=self.cfg.min_lr,
                )
            )
            self._log_jump()
        return self.optimizer.get_lr()

    def _log_jump(self) -> None:
        """Say once after a resume if the settings have given the next update another learning rate."""
        saved, self._saved = self._saved, {}
        lr = self.optimizer.get_lr()
        if saved and not math.isclose(lr, saved["lr"], rel_tol=1e-6):
            logger.warning(
                "the learning rate resumes at %.4g, the checkpoint had %.4g: max_epoch of the schedule is %d, was %d, "
                "and optimization.lr is %g",
                *(lr, saved["lr"], self.cfg.max_epoch, saved["max_epoch"], self.cfg.lr[0]),
            )

    def _learn_epoch_length(self, num_updates: int) -> None:
        batches = get_batches_per_epoch()
        if batches is None:
            return
        count = math.ceil(batches / self.cfg.update_freq[0])
        if self._updates_per_epoch and count != self._updates_per_epoch:
            self._since_epoch += (num_updates - self._since_update) / self._updates_per_epoch
            self._since_update = num_updates
        self._updates_per_epoch = count
