"""Task `maskspec_finetuning`: labelled clips, and scores over the whole of a validation subset."""

import logging
import os
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from fairseq import metrics
from fairseq.tasks import register_task
from omegaconf import II, open_dict

from maskspec_fairseq.audio.read import clip_samples
from maskspec_fairseq.checkpoints.exported import pretrained_path
from maskspec_fairseq.checkpoints.read import load_pretrained
from maskspec_fairseq.data.clip_targets import ClipTargets
from maskspec_fairseq.data.frame_targets import ColumnGrid, FrameTargets
from maskspec_fairseq.data.waveform_augmentation import WaveformAugmentation
from maskspec_fairseq.data.weighted_sampling import clip_weights
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.events import join_events, read_subset_events
from maskspec_fairseq.data_dir.labels import LABELS_FILE, Label, join_labels, read_subset_labels, read_vocabulary
from maskspec_fairseq.data_dir.manifest import Manifest, list_folds
from maskspec_fairseq.fairseq_compat import allow_unused_parameters
from maskspec_fairseq.modules.classifier import SpectrogramClassifier
from maskspec_fairseq.modules.freezing import count_parameters, encoder_parameters
from maskspec_fairseq.registered_names import FINETUNING_TASK
from maskspec_fairseq.tasks.audio_task import AudioTask, AudioTaskConfig
from maskspec_fairseq.tasks.validation_scores import ValidationScores

logger = logging.getLogger(__name__)


@dataclass
class MaskSpecFinetuningConfig(AudioTaskConfig):
    target_is_multilabel: bool = field(default=False, metadata={"help": "several classes per clip, scored by mAP"})
    fold: int = field(default=0, metadata={"help": "fold to hold out, of a corpus with folds; 0: no folds"})
    wave_mixup: float = field(default=0.0, metadata={"help": "probability that a waveform is mixed with another"})
    wave_mixup_alpha: float = field(default=2.0, metadata={"help": "parameter of the Beta distribution of the ratio"})
    spec_mixup_alpha: float = field(default=0.0, metadata={"help": "the same for mixing log-mels; 0: none"})
    roll_sec: float = field(default=0.0, metadata={"help": "s, largest roll over time"})
    gain_db: float = field(default=0.0, metadata={"help": "dB, largest change of level"})
    clip_sampling: str = field(
        default="all", metadata={"help": "all clips in every epoch, or draws by the weights of passt or psla"}
    )
    # Its former name, which checkpoints have and new runs are refused with. An interpolation without help is no option
    # of fairseq-train, whose parsers have another --sampling.
    sampling: str = II("task.clip_sampling")
    num_draws: int = field(default=0, metadata={"help": "number of clips drawn per epoch"})
    best_checkpoint_metric: str = II("checkpoint.best_checkpoint_metric")
    maximize_best_checkpoint_metric: bool = II("checkpoint.maximize_best_checkpoint_metric")


@register_task(FINETUNING_TASK, dataclass=MaskSpecFinetuningConfig)
class MaskSpecFinetuningTask(AudioTask):
    """Classification, with one class per clip or several.

    Scores are computed in `post_validate` from the logits of every clip of the subset, gathered over all GPUs by clip
    number, so that neither unequal shares nor clips that are seen twice change them.
    """

    has_labels = True

    def __init__(self, cfg: MaskSpecFinetuningConfig) -> None:
        super().__init__(cfg)
        self._scores = ValidationScores(cfg.target_is_multilabel)
        self._num_to_score = 0  # clips of the subset that was loaded last
        self._in_a_run = False
        self._columns: Optional[ColumnGrid] = None  # of a model with a head of frames

    def build_model(self, cfg, from_checkpoint: bool = False):
        """Build the model for the labels of the data, starting from `model.pretrained`.

        A model that is loaded from a checkpoint, or a run that resumes, has labels, weights and statistics of its own.

        Raises:
            ManifestError: the data have no classes.
            ValueError: see `load_pretrained` and `AudioTask.build_model`; `checkpoint.best_checkpoint_metric` does not
                exist for such labels, or its worst value would be the best; `task.clip_sampling` is given by its former
                name; or a head of frames is for one class per clip.
        """
        if from_checkpoint:
            model = super().build_model(cfg, from_checkpoint)
            self._columns = self.column_grid(model)
            return model
        if cfg.head == "frames" and not self.cfg.target_is_multilabel:
            raise ValueError(
                "expected task.target_is_multilabel=true for model.head=frames, found false; set it: sounds overlap, "
                "and in most frames there is none"
            )
        if self.cfg.sampling != self.cfg.clip_sampling:
            raise ValueError(
                f"expected task.clip_sampling, found its former name task.sampling={self.cfg.sampling}; "
                f"write task.clip_sampling={self.cfg.sampling}"
            )
        self._check_best_metric()
        vocabulary = self.vocabulary()
        with open_dict(cfg):
            cfg.num_classes = len(vocabulary)
            cfg.label_keys = [label.key for label in vocabulary]
            cfg.label_names = [label.name for label in vocabulary]
        model = super().build_model(cfg)
        model.front_end.grid(clip_samples(self.cfg.clip_sec, self.cfg.sample_rate))  # refuses clips that are too short
        self._columns = self.column_grid(model)
        if cfg.freeze_updates:
            allow_unused_parameters(cfg)
            logger.info("trains %s in the first %d updates", count_parameters(model, True), cfg.freeze_updates)
        else:
            logger.info("trains %s", count_parameters(model, False))
        if os.path.isfile(os.path.join(self.cfg.save_dir, "checkpoint_last.pt")):
            return model
        if cfg.pretrained:
            start = pretrained_path(cfg.pretrained, self.cfg.launch_dir)
            logger.info("starting from %s", load_pretrained(model, cfg, start))
            if not model.front_end.has_statistics:
                self.set_mel_statistics(model.front_end)
        else:
            self.set_mel_statistics(model.front_end)
            if self._named_checkpoints:
                logger.info("starting from %s", ", ".join(self._named_checkpoints.values()))
                return model
            logger.info("starting from random weights")
            if cfg.freeze_encoder or cfg.freeze_updates or cfg.trainable_layers:
                logger.warning("the frozen encoder has random weights, because model.pretrained is not given")
        return model

    def _check_best_metric(self) -> None:
        """Check that there is the score by which `checkpoint_best.pt` is chosen, and that its better end is sought."""
        metric, maximize = self.cfg.best_checkpoint_metric, self.cfg.maximize_best_checkpoint_metric
        available = ("loss", *(name for name in self._scores.names if name != "skipped_classes"))
        if metric not in available:
            raise ValueError(
                f"expected checkpoint.best_checkpoint_metric out of {available} for "
                f"task.target_is_multilabel={str(self.cfg.target_is_multilabel).lower()}, found {metric!r}"
            )
        if maximize != (metric != "loss"):
            raise ValueError(
                f"expected checkpoint.maximize_best_checkpoint_metric={str(not maximize).lower()} for "
                f"checkpoint.best_checkpoint_metric={metric}, found {str(maximize).lower()}, by which the worst epoch "
                "would be checkpoint_best.pt; set it"
            )

    def column_grid(self, model: SpectrogramClassifier) -> Optional[ColumnGrid]:
        """Where a clip's columns of patches are, for a model with a head of frames; None for another."""
        if not model.head_of_frames:
            return None
        samples = clip_samples(self.cfg.clip_sec, self.cfg.sample_rate)
        columns, hop = model.front_end.grid(samples)[1], model.front_end.hop_length
        first = model.front_end.frames.first_middle - hop / 2
        return ColumnGrid(self.cfg.sample_rate, samples, columns, model.patch_size[1] * hop, first)

    def vocabulary(self) -> List[Label]:
        """The classes of the data.

        Raises:
            ManifestError: there are none.
        """
        return read_vocabulary(os.path.join(self.data_dir, LABELS_FILE))

    def subsets_of(self, split: str) -> List[str]:
        """With `task.fold`, that fold for validation and the others for training.

        Raises:
            ManifestError: the data have no such fold.
        """
        folds = list_folds(self.data_dir)
        found = f"folds {', '.join(map(str, folds))}" if folds else "no folds"
        if not self.cfg.fold:
            subsets = super().subsets_of(split)
            if folds and not os.path.isfile(os.path.join(self.data_dir, f"{subsets[0]}.tsv")):
                raise ManifestError(
                    f"{self.data_dir}: expected the subset {subsets[0]}, found {found}; "
                    "set task.fold to the one to hold out"
                )
            return subsets
        if self.cfg.fold not in folds or len(folds) == 1:
            raise ManifestError(
                f"{self.data_dir}: expected fold {self.cfg.fold} (task.fold) and others, found {found}; "
                "set task.fold to one of several, or to 0 for data without folds"
            )
        held_out = split != self.cfg.train_subset
        return [f"fold{fold}" for fold in folds if (fold == self.cfg.fold) == held_out]

    def dataset_arguments(self, split: str, manifests: List[Manifest]) -> Dict[str, Any]:
        """Targets, augmentation and sampling of a split.

        Raises:
            ManifestError: label files that are missing, do not fit the manifests, or have nothing to score by; or the
                same of files of events, for a model with a head of frames.
        """
        vocabulary, subsets = self.vocabulary(), self.subsets_of(split)
        labels = [
            read_subset_labels(self.data_dir, name, vocabulary, len(manifest), self.cfg.target_is_multilabel)
            for name, manifest in zip(subsets, manifests)
        ]
        targets = ClipTargets(join_labels(labels))
        cfg = self.cfg
        weights = None
        if split == cfg.train_subset and cfg.clip_sampling != "all":
            weights = clip_weights(targets.present(), len(vocabulary), cfg.clip_sampling)
        frames = None
        if self._columns is not None:
            events = [
                read_subset_events(self.data_dir, name, vocabulary, manifest, of_clips)
                for name, manifest, of_clips in zip(subsets, manifests, labels)
            ]
            frames = FrameTargets(join_events(events), targets, self._columns)
        return {
            "targets": targets,
            "frames": frames,
            "augmentation": WaveformAugmentation(
                cfg.wave_mixup, cfg.wave_mixup_alpha, cfg.spec_mixup_alpha, cfg.roll_sec, cfg.gain_db
            ),
            "sampling_weights": weights,
            "num_draws": cfg.num_draws,
        }

    def load_dataset(self, split: str, combine: bool = False, task_cfg=None, **kwargs) -> None:
        super().load_dataset(split, combine, task_cfg, **kwargs)
        self._scores = ValidationScores(self.cfg.target_is_multilabel)
        self._num_to_score = len(self.datasets[split])

    def begin_valid_epoch(self, epoch: int, model) -> None:
        super().begin_valid_epoch(epoch, model)
        self._in_a_run = True

    def optimizer_step(self, optimizer, model, update_num) -> None:
        """Take the step without the encoder in the first `model.freeze_updates` updates.

        Some of fairseq's optimizers and data-parallel modules fill missing gradients with zeros, of which AdamW would
        make moments and decay.
        """
        if update_num < model.freeze_updates:
            for parameter in encoder_parameters(optimizer.optimizer):
                parameter.grad = None
        super().optimizer_step(optimizer, model, update_num)
        if update_num + 1 == model.freeze_updates:
            logger.info("after update %d: trains %s from here on", update_num + 1, count_parameters(model, False))

    def valid_step(self, sample, model, criterion):
        loss, sample_size, logging_output = super().valid_step(sample, model, criterion)
        self._scores.add(sample, logging_output.pop("logits"))
        return loss, sample_size, logging_output

    def reduce_metrics(self, logging_outputs, criterion) -> None:
        """Log; `fairseq-validate`, which has no `post_validate`, gets the scores once it passes the whole subset."""
        super().reduce_metrics(logging_outputs, criterion)
        if criterion.training:
            return
        if self._in_a_run:
            # fairseq reads the metric of the best checkpoint before `post_validate` has computed it
            for name in self._scores.names:
                metrics.log_scalar(name, 0.0, weight=0, round=5)
        elif sum(output["nsentences"] for output in logging_outputs) == self._num_to_score:
            for name, value in self._scores.compute().items():
                metrics.log_scalar(name, value, round=5)

    def post_validate(self, model, stats: Dict[str, Any], agg) -> None:
        """Put the scores of the whole subset into fairseq's validation statistics."""
        scores = self._scores.compute()
        stats.update(scores)
        for name, value in scores.items():
            if f"best_{name}" in stats:
                stats[f"best_{name}"] = max(stats[f"best_{name}"], value)
