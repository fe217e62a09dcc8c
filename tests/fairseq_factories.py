"""Tasks and configs of fairseq that several test files share."""

from typing import Any

from fairseq.dataclass.initialize import hydra_init
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from maskspec_fairseq.models.maskspec_classifier import MaskSpecClassifierConfig
from maskspec_fairseq.tasks.maskspec_finetuning import MaskSpecFinetuningConfig, MaskSpecFinetuningTask
from maskspec_fairseq.tasks.maskspec_pretraining import MaskSpecPretrainingConfig, MaskSpecPretrainingTask
from tests.factories import REPOSITORY, SMALL_ENCODER

NO_RUN: dict[str, Any] = dict(
    seed=1,
    train_subset="train",
    update_freq=[1],
    max_epoch=1,
    max_update=0,
    save_interval=1,
    no_save=False,
    cpu=True,
    fp16=False,
    bf16=False,
    amp=False,
)


def finetuning_task(data, **kwargs) -> MaskSpecFinetuningTask:
    cfg = MaskSpecFinetuningConfig(data=str(data), valid_subset="valid", **NO_RUN)
    cfg.save_dir, cfg.best_checkpoint_metric, cfg.maximize_best_checkpoint_metric = "/nowhere", "loss", False
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


# Recipes, by name and for finetuning by finetuning/NAME -> pretraining or finetuning
CONFIGS = REPOSITORY / "config"
BASES = {"pretraining": "maskspec_base", "finetuning": "base"}
STAGE_OF = {
    path.stem if stage == "pretraining" else f"{stage}/{path.stem}": stage
    for stage in BASES
    for path in sorted((CONFIGS / stage).glob("*.yaml"))
    if (stage, path.stem) != ("finetuning", "base")
}


def compose_recipe(recipe: str, *fields: str) -> DictConfig:
    """What `fairseq-hydra-train` makes of a recipe, one of `STAGE_OF`, and overrides."""
    try:
        from hydra import compose, initialize_config_dir
    except ImportError:  # hydra 1.0.7
        from hydra.experimental import compose, initialize_config_dir  # type: ignore[assignment]
    stage, name = STAGE_OF[recipe], recipe.split("/")[-1]
    overrides = [
        "task.data=/data", "task.launch_dir=/launch", f"common.user_dir={REPOSITORY}/maskspec_fairseq", *fields
    ]  # fmt: skip
    hydra_init(name)
    try:
        with initialize_config_dir(config_dir=str(CONFIGS / stage)):
            return compose(config_name=name, overrides=overrides)
    finally:  # the schema is for the primary config alone, and one process composes one
        del ConfigStore.instance().repo[f"{name}.yaml"]
