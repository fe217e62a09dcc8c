"""What both tasks share: clips of a data directory, and what fairseq requires of every task."""

import gc
import logging
import os
from dataclasses import dataclass, field
from typing import Any, Dict, List

from fairseq.dataclass import FairseqDataclass
from fairseq.tasks import FairseqTask
from omegaconf import II, MISSING, OmegaConf
from torch.nn import Parameter

from maskspec_fairseq.checkpoints.check import TASK
from maskspec_fairseq.data.audio_dataset import AudioDataset
from maskspec_fairseq.data.resumable_iterator import ResumableIterator
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.manifest import Manifest, check_manifest, join_manifests, read_manifest
from maskspec_fairseq.data_dir.mel_stats import read_mel_statistics
from maskspec_fairseq.fairseq_compat import (
    check_devices,
    check_last_epoch_is_saved,
    raise_if_interrupted,
    remember_interrupts,
    set_batches_per_epoch,
)
from maskspec_fairseq.fields import check_fields
from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.modules.patches import simplest_patch_size
from maskspec_fairseq.tasks.run_directory import claim_run_directory, log_start
from maskspec_fairseq.tasks.transformer_blocks import checkpoint_blocks, compile_for_run

logger = logging.getLogger(__name__)

MAX_REPLACED_SHARE = 0.01


@dataclass
class AudioTaskConfig(FairseqDataclass):
    data: str = field(default=MISSING, metadata={"help": "directory written by maskspec-build"})
    launch_dir: str = field(default=".", metadata={"help": "directory that relative paths start from"})
    sample_rate: int = field(default=32000, metadata={"help": "Hz, to which all audio is resampled"})
    clip_sec: float = field(default=10.0, metadata={"help": "s, to which every clip is cropped or padded"})
    channel: str = field(default="mix", metadata={"help": "mix, left, right or mid"})
    on_bad_audio: str = field(
        default="raise", metadata={"help": "raise, or skip: train on another clip instead, for up to 1 % of the clips"}
    )
    max_skipped_updates: int = field(
        default=10,
        metadata={"help": "batches with a non-finite loss that are dropped before the run ends"},
    )
    resume_changed: bool = field(
        default=False, metadata={"help": "resume a run although its start, data, task or model are no longer the same"}
    )
    # ve-fairseq reads it here; persistent workers of one epoch would stay alive next to those of the following ones
    persistent_workers: bool = field(default=False, metadata={"help": "keep loader processes beyond their epoch"})
    compile: bool = field(default=False, metadata={"help": "compile the transformer blocks by torch.compile"})
    checkpoint_activations: bool = field(
        default=False, metadata={"help": "compute the blocks again in the backward pass, which needs less memory"}
    )
    seed: int = II("common.seed")
    train_subset: str = II("dataset.train_subset")
    valid_subset: str = II("dataset.valid_subset")
    save_dir: str = II("checkpoint.save_dir")
    update_freq: List[int] = II("optimization.update_freq")
    max_epoch: int = II("optimization.max_epoch")
    max_update: int = II("optimization.max_update")
    save_interval: int = II("checkpoint.save_interval")
    no_save: bool = II("checkpoint.no_save")
    cpu: bool = II("common.cpu")
    fp16: bool = II("common.fp16")
    bf16: bool = II("common.bf16")
    amp: bool = II("common.amp")


class AudioTask(FairseqTask):
    """Clips of `task.data`, trained on the subset `dataset.train_subset` (or several, separated by commas).

    Attributes:
        has_labels: whether the clips' labels are learned from.
    """

    has_labels = False

    def __init__(self, cfg: AudioTaskConfig) -> None:
        super().__init__(cfg)
        self._loaded = self._replaced = self._skipped = 0
        self._skipped_in = -1  # the last update in which this process dropped a batch
        self._skipped_clips = ""
        self._updates_logged = False
        self._named_checkpoints: Dict[str, str] = {}  # that fairseq loads after the model is built

    @classmethod
    def setup_task(cls, cfg: AudioTaskConfig, **kwargs) -> "AudioTask":
        return cls(cfg)

    def launch_path(self, path: str) -> str:
        """The absolute path of a path given on the command line."""
        return os.path.abspath(os.path.join(self.cfg.launch_dir, path))

    @property
    def data_dir(self) -> str:
        """The absolute path of `task.data`.

        Raises:
            ManifestError: no such directory.
        """
        if OmegaConf.is_missing(self.cfg, "data"):
            raise ManifestError(
                "expected a directory with manifests as task.data, found none; add task.data=DATA_DIR, a directory "
                "that maskspec-build has written"
            )
        path = self.launch_path(self.cfg.data)
        if not os.path.isdir(path):
            raise ManifestError(
                f"expected a directory with manifests as task.data, found none at {path}; "
                "write one with `maskspec-build folder AUDIO_DIR --out DATA_DIR`"
            )
        return path

    def subsets_of(self, split: str) -> List[str]:
        """The names of the manifests that make up one of fairseq's splits."""
        return split.split(",")

    def build_model(self, cfg, from_checkpoint: bool = False):
        """Build the model; first, unless it is loaded from a checkpoint, check what the run starts or resumes from.

        Raises:
            ManifestError: no data.
            ValueError: a field of the task is out of its range, or `model.patch_size` is not one; the run would be
                validated on its training subset, cropped and shuffled; another one is trained in the run directory, or
                has been there; a checkpoint to start from is missing, cut off or not one; or the blocks cannot be
                compiled or checkpointed, see `transformer_blocks.py`.
        """
        patch_size = simplest_patch_size(cfg.patch_size)  # of fairseq-train it is text
        if patch_size != cfg.patch_size:
            cfg.patch_size = patch_size
        if not from_checkpoint:
            if self.cfg.train_subset in self.cfg.valid_subset.split(","):
                raise ValueError(
                    f"expected dataset.valid_subset without the training subset, found {self.cfg.valid_subset!r}; "
                    f"to score the clips of training, copy {self.cfg.train_subset}.tsv (and .lbl) to another name"
                )
            check_fields({name: self.cfg[name] for name in ("sample_rate", "clip_sec", "channel")}, TASK, "task")
            check_devices(self.cfg.cpu, self.cfg.fp16 or self.cfg.bf16 or self.cfg.amp)
            check_last_epoch_is_saved(self.cfg.max_epoch, self.cfg.max_update, self.cfg.save_interval, self.cfg.no_save)
            self._named_checkpoints = claim_run_directory(self, cfg)
            remember_interrupts()
            log_start(self.cfg, self._named_checkpoints.get("restore_file", ""))
        model = super().build_model(cfg)
        if not from_checkpoint and self.cfg.checkpoint_activations:
            checkpoint_blocks(model, self.cfg.compile, self.cfg.amp)
        if not from_checkpoint and self.cfg.compile:
            compile_for_run(model, self.cfg.cpu)
        return model

    def build_criterion(self, cfg, from_checkpoint: bool = False):
        """Build the criterion of a run; a converted checkpoint has none.

        Raises:
            ValueError: there is none, which is how fairseq's programs meet such a checkpoint.
        """
        if cfg is None:
            raise ValueError(
                "expected the checkpoint of a run, found one of maskspec-convert, which has no criterion; "
                "score it with maskspec-evaluate, or finetune it by model.pretrained"
            )
        return super().build_criterion(cfg)

    def manifest_paths(self, split: str) -> List[str]:
        """The manifest files of a split."""
        return [os.path.join(self.data_dir, f"{name}.tsv") for name in self.subsets_of(split)]

    def set_mel_statistics(self, front_end: LogMel) -> None:
        """Give the front end of a new model the statistics of the training subset.

        Raises:
            ManifestError: no such subset, or no statistics of it.
        """
        for path in self.manifest_paths(self.cfg.train_subset):
            check_manifest(path)
        subsets = self.subsets_of(self.cfg.train_subset)
        front_end.set_statistics(*read_mel_statistics(self.data_dir, front_end.settings(), subsets))

    def dataset_arguments(self, split: str, manifests: List[Manifest]) -> Dict[str, Any]:
        """Further arguments of the dataset of a split."""
        return {}

    def load_dataset(self, split: str, combine: bool = False, task_cfg=None, **kwargs) -> None:
        """Load a split; only `dataset.train_subset` is cropped at random and shuffled."""
        cfg = task_cfg or self.cfg
        manifests = [read_manifest(path) for path in self.manifest_paths(split)]
        arguments = self.dataset_arguments(split, manifests)
        manifest = join_manifests(manifests)
        del manifests  # hundreds of MB for AudioSet
        self.datasets[split] = AudioDataset(
            manifest,
            sample_rate=cfg.sample_rate,
            clip_sec=cfg.clip_sec,
            channel=cfg.channel,
            seed=cfg.seed,
            training=split == self.cfg.train_subset,
            on_bad_audio=cfg.on_bad_audio,
            **arguments,
        )
        logger.info("loaded %d clips of %s", len(self.datasets[split]), ", ".join(self.subsets_of(split)))

    def get_batch_iterator(self, dataset, *args, **kwargs):
        iterator = super().get_batch_iterator(dataset, *args, **kwargs)
        if not dataset.training:
            return iterator
        set_batches_per_epoch(len(iterator))
        update_freq = self.cfg.update_freq[min(iterator.epoch, len(self.cfg.update_freq)) - 1]
        if not self._updates_logged:
            updates = -(-len(iterator) // update_freq)
            logger.info("%d epochs of %d updates, %d in all", self.cfg.max_epoch, updates, self.cfg.max_epoch * updates)
            self._updates_logged = True
        return ResumableIterator(iterator, update_freq)

    def begin_epoch(self, epoch: int, model) -> None:
        """Collect the previous epoch's iterator: fairseq 0.12.2 keeps its loader processes as long as it exists."""
        super().begin_epoch(epoch, model)
        gc.collect()
        raise_if_interrupted()

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False, **kwargs):
        raise_if_interrupted()
        for message in sample["bad_audio"]:
            logger.warning("replaced by another clip: %s", message)
        result = super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad, **kwargs)
        if result[2]["skipped"]:
            self._skipped_in = update_num
            dataset = self.datasets[self.cfg.train_subset]
            paths = {index: dataset.manifest.paths[dataset.line(index)] for index in sample["id"].tolist()}
            self._skipped_clips = ", ".join(f"{index} ({path})" for index, path in paths.items())
            logger.warning(
                "update %d: dropped a batch whose loss is not finite, clips %s", update_num + 1, self._skipped_clips
            )
        return result

    def valid_step(self, sample, model, criterion):
        raise_if_interrupted()
        return super().valid_step(sample, model, criterion)

    def optimizer_step(self, optimizer, model, update_num) -> None:
        """Take the step, unless all processes have dropped all their batches: then the model stays as it is."""
        if self._skipped_in == update_num and not any(_has_gradient(parameter) for parameter in model.parameters()):
            return
        super().optimizer_step(optimizer, model, update_num)

    def reduce_metrics(self, logging_outputs, criterion) -> None:
        """Log, and end a run in which too much has failed.

        Raises:
            RuntimeError: more than 1 % of the clips loaded so far (of one epoch's, during the first) could not be
                read.
            FloatingPointError: more than `task.max_skipped_updates` batches had a loss that is not finite.
        """
        super().reduce_metrics(logging_outputs, criterion)
        if not criterion.training:
            return
        self._skipped += int(sum(output["skipped"] for output in logging_outputs))
        if self._skipped > self.cfg.max_skipped_updates:
            names = self._skipped_clips or "that the warnings of another process name"
            raise FloatingPointError(
                f"expected a finite loss except in {self.cfg.max_skipped_updates} batches (task.max_skipped_updates), "
                f"found {self._skipped} that are NaN or infinite, the last with the clips {names}; "
                "look at these files, or lower optimization.lr"
            )
        self._loaded += int(sum(output["nsentences"] for output in logging_outputs))
        self._replaced += int(sum(output["replaced"] for output in logging_outputs))
        clips = max(self._loaded, len(self.datasets[self.cfg.train_subset]))
        if self._replaced > MAX_REPLACED_SHARE * clips:
            raise RuntimeError(
                f"expected at most {MAX_REPLACED_SHARE:.0%} of the clips to be unreadable, found {self._replaced} "
                f"of {clips}; the warnings above name them, and building the data directory again leaves them out"
            )

    def max_positions(self) -> None:
        return None

    @property
    def source_dictionary(self) -> None:
        return None

    @property
    def target_dictionary(self) -> None:
        return None


def _has_gradient(parameter: Parameter) -> bool:
    return parameter.grad is not None and bool(parameter.grad.any())
