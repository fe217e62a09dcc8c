"""Tasks and configs of fairseq that several test files share."""

from omegaconf import OmegaConf

from maskspec_fairseq.models.maskspec_classifier import MaskSpecClassifierConfig
from maskspec_fairseq.tasks.maskspec_finetuning import MaskSpecFinetuningConfig, MaskSpecFinetuningTask
from maskspec_fairseq.tasks.maskspec_pretraining import MaskSpecPretrainingConfig, MaskSpecPretrainingTask
from tests.factories import SMALL_ENCODER

NO_RUN = dict(seed=1, train_subset="train", update_freq=[1], max_epoch=1, cpu=True, fp16=False, bf16=False, amp=False)


def finetuning_task(data, **kwargs) -> MaskSpecFinetuningTask:
    cfg = MaskSpecFinetuningConfig(data=str(data), valid_subset="valid", **NO_RUN)
    cfg.save_dir, cfg.best_checkpoint_metric = "/nowhere", "loss"
    for name, value in {"clip_sec": 1.0, **kwargs}.items():
        setattr(cfg, name, value)
    cfg.sampling = kwargs.get("sampling", cfg.clip_sampling)
    return MaskSpecFinetuningTask.setup_task(OmegaConf.structured(cfg), from_checkpoint=True)


def classifier_config(**kwargs):
    cfg = MaskSpecClassifierConfig(**{**SMALL_ENCODER, **kwargs})
    cfg._name, cfg.sample_rate = "maskspec_classifier", 32000
    return OmegaConf.structured(cfg)


def pretraining_task(data, **kwargs) -> MaskSpecPretrainingTask:
    cfg = MaskSpecPretrainingConfig(data=str(data), valid_subset="valid", save_dir="/nowhere", **NO_RUN)
    for name, value in {"clip_sec": 1.0, **kwargs}.items():
        setattr(cfg, name, value)
    return MaskSpecPretrainingTask.setup_task(OmegaConf.structured(cfg), from_checkpoint=True)
