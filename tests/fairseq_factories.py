"""Tasks and configs of fairseq that several test files share."""

from omegaconf import OmegaConf

from maskspec_fairseq.models.maskspec_classifier import MaskSpecClassifierConfig
from maskspec_fairseq.tasks.maskspec_finetuning import MaskSpecFinetuningConfig, MaskSpecFinetuningTask
from maskspec_fairseq.tasks.maskspec_pretraining import MaskSpecPretrainingConfig, MaskSpecPretrainingTask
from tests.factories import SMALL_ENCODER


def finetuning_task(data, **kwargs) -> MaskSpecFinetuningTask:
    cfg = MaskSpecFinetuningConfig(data=str(data), seed=1, train_subset="train", valid_subset="valid")
    cfg.save_dir, cfg.best_checkpoint_metric, cfg.update_freq = "/nowhere", "loss", [1]
    for name, value in {"clip_sec": 1.0, **kwargs}.items():
        setattr(cfg, name, value)
    cfg.sampling = kwargs.get("sampling", cfg.clip_sampling)
    return MaskSpecFinetuningTask.setup_task(cfg, from_checkpoint=True)


def classifier_config(**kwargs):
    cfg = MaskSpecClassifierConfig(**{**SMALL_ENCODER, **kwargs})
    cfg._name, cfg.sample_rate = "maskspec_classifier", 32000
    return OmegaConf.structured(cfg)


def pretraining_task(data, **kwargs) -> MaskSpecPretrainingTask:
    cfg = MaskSpecPretrainingConfig(data=str(data), seed=1, train_subset="train", update_freq=[1])
    for name, value in {"clip_sec": 1.0, **kwargs}.items():
        setattr(cfg, name, value)
    return MaskSpecPretrainingTask.setup_task(cfg, from_checkpoint=True)
