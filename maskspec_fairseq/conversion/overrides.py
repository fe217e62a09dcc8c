"""Which fields of a finetuning recipe to set for a checkpoint."""

from dataclasses import asdict
from typing import Any

from maskspec_fairseq.checkpoints.read import ENCODER_FIELDS
from maskspec_fairseq.hydra_override import format_override
from maskspec_fairseq.modules.sizes import BASE

# The values of config/finetuning/base.yaml.
RECIPE = {
    "front_end": "paper", "sample_rate": 32000, "patch_size": 16,
    **{name: value for name, value in asdict(BASE).items() if name.startswith("encoder_")},
    "cls_token": False, "position_grid": [], "norm_after_pool": False, "clip_sec": 10.0,
}  # fmt: skip
TASK_FIELDS = ("sample_rate", "clip_sec")


def finetuning_overrides(cfg: dict[str, Any]) -> list[str]:
    """The hydra overrides with which a finetuning recipe starts from a checkpoint with this config."""
    values = {**cfg["model"], **cfg["task"]}
    overrides = []
    for name in (*ENCODER_FIELDS, "norm_after_pool", "clip_sec"):
        value = values.get(name, RECIPE[name])
        if value != RECIPE[name]:
            overrides.append(format_override(f"{'task' if name in TASK_FIELDS else 'model'}.{name}", value))
    return overrides
