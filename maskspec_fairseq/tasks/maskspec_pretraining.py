"""Task `maskspec_pretraining`: clips of a manifest, no labels."""

import logging
import os
from dataclasses import dataclass, field

from fairseq.dataclass import FairseqDataclass
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, MISSING

from maskspec_fairseq.data.audio import clip_samples
from maskspec_fairseq.data.audio_dataset import AudioDataset
from maskspec_fairseq.data.epoch_length import set_batches_per_epoch
from maskspec_fairseq.data.mel_statistics import read_mel_statistics
from maskspec_fairseq.manifest import ManifestError, read_manifest
from maskspec_fairseq.modules.masking import num_masked

logger = logging.getLogger(__name__)

MAX_REPLACED_SHARE = 0.01


@dataclass
class MaskSpecPretrainingConfig(FairseqDataclass):
    data: str = field(default=MISSING, metadata={"help": "directory written by manifests/build.py"})
    launch_dir: str = field(default=".", metadata={"help": "directory that a relative task.data starts from"})
    sample_rate: int = field(default=32000, metadata={"help": "Hz, to which all audio is resampled"})
    clip_sec: float = field(default=10.0, metadata={"help": "s, to which every clip is cropped or padded"})
    channel: str = field(default="mix", metadata={"help": "mix, left, right or mid"})
    on_bad_audio: str = field(
        default="raise", metadata={"help": "raise, or skip: train on another clip, up to 1 % of them"}
    )
    seed: int = II("common.seed")
    train_subset: str = II("dataset.train_subset")


@register_task("maskspec_pretraining", dataclass=MaskSpecPretrainingConfig)
class MaskSpecPretrainingTask(FairseqTask):
    """Pretraining on the subset `dataset.train_subset` of `task.data`."""

    def __init__(self, cfg: MaskSpecPretrainingConfig) -> None:
        super().__init__(cfg)
        self._loaded = self._replaced = 0

    @classmethod
    def setup_task(cls, cfg: MaskSpecPretrainingConfig, **kwargs) -> "MaskSpecPretrainingTask":
        return cls(cfg)

    @property
    def data_dir(self) -> str:
        """`task.data`, absolute.

        Raises:
            ManifestError: no such directory.
        """
        path = os.path.abspath(os.path.join(self.cfg.launch_dir, self.cfg.data))
        if not os.path.isdir(path):
            raise ManifestError(
                f"expected a directory with manifests as task.data, found none at {path}; "
                "write one with `python manifests/build.py folder AUDIO_DIR --out DATA_DIR`"
            )
        return path

    def build_model(self, cfg, from_checkpoint: bool = False):
        """Build the model and set its mel statistics, unless a checkpoint brings them."""
        model = super().build_model(cfg)
        if not from_checkpoint:
            rows, columns = model.grid(clip_samples(self.cfg.clip_sec, self.cfg.sample_rate))
            num_masked(rows * columns, model.mask_ratio)  # refuses clips that are too short for the ratio
            model.front_end.set_statistics(
                *read_mel_statistics(self.data_dir, model.front_end, [self.cfg.train_subset])
            )
        return model

    def load_dataset(self, split: str, combine: bool = False, task_cfg=None, **kwargs) -> None:
        """Load a subset; that of `dataset.train_subset` is cropped at random and shuffled."""
        cfg = task_cfg or self.cfg
        self.datasets[split] = AudioDataset(
            read_manifest(os.path.join(self.data_dir, f"{split}.tsv")),
            sample_rate=cfg.sample_rate,
            clip_sec=cfg.clip_sec,
            channel=cfg.channel,
            seed=cfg.seed,
            training=split == self.cfg.train_subset,
            on_bad_audio=cfg.on_bad_audio,
        )
        logger.info("loaded %d clips of the subset %s", len(self.datasets[split]), split)

    def get_batch_iterator(self, dataset, *args, **kwargs):
        iterator = super().get_batch_iterator(dataset, *args, **kwargs)
        if dataset.training:
            set_batches_per_epoch(len(iterator))
        return iterator

    def train_step(self, sample, *args, **kwargs):
        for message in sample["bad_audio"]:
            logger.warning("replaced by another clip: %s", message)
        return super().train_step(sample, *args, **kwargs)

    def reduce_metrics(self, logging_outputs, criterion) -> None:
        """Log, and end a run that replaces more than 1 % of its clips (of one epoch's, before that has passed).

        Raises:
            RuntimeError: too many files could not be read.
        """
        super().reduce_metrics(logging_outputs, criterion)
        if not criterion.training:
            return
        self._loaded += int(sum(output["nsentences"] for output in logging_outputs))
        self._replaced += int(sum(output["replaced"] for output in logging_outputs))
        clips = max(self._loaded, len(self.datasets[self.cfg.train_subset]))
        if self._replaced > MAX_REPLACED_SHARE * clips:
            raise RuntimeError(
                f"expected at most {MAX_REPLACED_SHARE:.0%} of the clips to be unreadable, found {self._replaced} "
                f"of {clips}; the warnings above name them, `python manifests/build.py` leaves them out"
            )

    def max_positions(self) -> None:
        return None

    @property
    def source_dictionary(self) -> None:
        return None

    @property
    def target_dictionary(self) -> None:
        return None
