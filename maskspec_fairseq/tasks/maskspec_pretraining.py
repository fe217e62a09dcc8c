"""Task `maskspec_pretraining`: clips of a manifest, no labels."""

import logging
from dataclasses import dataclass, field
from typing import Any, Dict, List

from fairseq.tasks import register_task

from maskspec_fairseq.audio.read import clip_samples
from maskspec_fairseq.data_dir.manifest import Manifest
from maskspec_fairseq.modules.masking import num_decoded, num_masked
from maskspec_fairseq.registered_names import PRETRAINING_TASK
from maskspec_fairseq.tasks.audio_task import AudioTask, AudioTaskConfig

logger = logging.getLogger(__name__)


@dataclass
class MaskSpecPretrainingConfig(AudioTaskConfig):
    crops_per_file: int = field(
        default=1,
        metadata={"help": "clips of every file in an epoch; a file is decoded once for up to four of them"},
    )


@register_task(PRETRAINING_TASK, dataclass=MaskSpecPretrainingConfig)
class MaskSpecPretrainingTask(AudioTask):
    """Pretraining on the subset `dataset.train_subset` of `task.data`."""

    def build_model(self, cfg, from_checkpoint: bool = False):
        """Build the model and set its mel statistics, unless it is loaded from a checkpoint, which has them.

        So is a model that starts from `checkpoint.finetune_from_model`: the weights have learned in its units.

        Raises:
            ManifestError: see `set_mel_statistics`.
            ValueError: clips that are too short for the mask ratio, or for the decoder's share.
        """
        model = super().build_model(cfg, from_checkpoint)
        if not from_checkpoint:
            rows, columns = model.front_end.grid(clip_samples(self.cfg.clip_sec, self.cfg.sample_rate))
            num_decoded(num_masked(rows * columns, model.mask_ratio), model.decoder_share)  # refuses too short clips
            start = self._named_checkpoints.get("finetune_from_model")
            if start:  # fairseq loads it once the model is built
                logger.info("the log-mel statistics are those of %s", start)
            else:
                self.set_mel_statistics(model.front_end)
        return model

    def dataset_arguments(self, split: str, manifests: List[Manifest]) -> Dict[str, Any]:
        return {"crops_per_file": self.cfg.crops_per_file}
