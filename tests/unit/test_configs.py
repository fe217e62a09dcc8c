"""Every recipe composes, says how it is run, and lists the fields that its users will want to override."""

import re
from dataclasses import fields

import pytest
from fairseq.dataclass.initialize import hydra_init
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from maskspec_fairseq.models.maskspec import MaskSpecConfig
from maskspec_fairseq.optim.maskspec_adamw import MaskSpecAdamWConfig
from maskspec_fairseq.optim.maskspec_cosine import MaskSpecCosineConfig
from maskspec_fairseq.tasks.maskspec_pretraining import MaskSpecPretrainingConfig
from tests.conftest import REPOSITORY

CONFIGS = REPOSITORY / "config" / "pretraining"
RECIPES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def compose_recipe(name):
    try:
        from hydra import compose, initialize_config_dir
    except ImportError:  # hydra 1.0.7
        from hydra.experimental import compose, initialize_config_dir
    overrides = ["task.data=/data", "task.launch_dir=/launch", f"common.user_dir={REPOSITORY}/maskspec_fairseq"]
    hydra_init(name)
    try:
        with initialize_config_dir(config_dir=str(CONFIGS)):
            return compose(config_name=name, overrides=overrides)
    finally:  # the schema is for the primary config alone, and one process composes one
        del ConfigStore.instance().repo[f"{name}.yaml"]


def test_all_recipes_are_there():
    assert RECIPES == [
        "demo", "esc10_tiny", "maskspec_base", "maskspec_base_reference", "maskspec_small", "maskspec_tiny",
    ]  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_composes_and_opens_with_its_command_and_hardware(name):
    cfg = compose_recipe(name)
    assert cfg.task._name == "maskspec_pretraining" and cfg.model._name == "maskspec"
    comment = re.match(r"(#.*\n)+", (CONFIGS / f"{name}.yaml").read_text())[0]
    assert f"fairseq-hydra-train --config-dir config/pretraining --config-name {name} task.data=" in comment
    assert re.search(r"^# For (2 CPU cores|8 GPUs)", comment, re.MULTILINE)


@pytest.mark.parametrize(
    "name, width, heads, ffn",
    [("maskspec_base", 768, 12, 3072), ("maskspec_small", 384, 6, 1536), ("maskspec_tiny", 192, 3, 768)],
)
def test_the_papers_recipes_are_the_papers(name, width, heads, ffn):
    cfg = compose_recipe(name)
    model = cfg.model
    assert (model.encoder_embed_dim, model.encoder_attention_heads, model.encoder_ffn_embed_dim) == (width, heads, ffn)
    assert (model.encoder_layers, model.mask_ratio, model.front_end, model.norm_pix_loss) == (12, 0.75, "paper", False)
    assert (model.decoder_layers, model.decoder_embed_dim, model.decoder_attention_heads) == (8, 512, 16)
    assert (cfg.task.sample_rate, cfg.task.clip_sec) == (32000, 10)
    assert (cfg.optimization.max_epoch, cfg.lr_scheduler.warmup_epochs) == (80, 40)
    assert list(cfg.optimization.lr) == [0.001] and cfg.optimizer.weight_decay == 0.05


def test_the_reference_recipe_has_what_the_released_code_has():
    cfg = compose_recipe("maskspec_base_reference")
    assert cfg.model.front_end == "reference" and cfg.model.mel_jitter
    assert cfg.model.cls_token and cfg.model.norm_pix_loss and list(cfg.optimization.lr) == [0.002]


@pytest.mark.parametrize("name", RECIPES)
def test_runs_do_not_share_a_directory(name):
    text = "\n".join(path.read_text() for path in [CONFIGS / "maskspec_base.yaml", *CONFIGS.glob("*/*.yaml")])
    assert text.count(f"dir: runs/{name}\n") == 1


@pytest.mark.parametrize(
    "node, config",
    [
        ("task", MaskSpecPretrainingConfig),
        ("model", MaskSpecConfig),
        ("optimizer", MaskSpecAdamWConfig),
        ("lr_scheduler", MaskSpecCosineConfig),
    ],
)
def test_base_lists_every_field_so_that_plain_overrides_work(node, config):
    """hydra takes `model.dropout=0.1` only for a field that the YAML has; interpolated fields are others' to set."""
    base = OmegaConf.load(CONFIGS / "maskspec_base.yaml")
    own = {f.name for f in fields(config) if not str(f.default).startswith("${") and not f.name.startswith("_")}
    assert own == set(base[node]) - {"_name"}


def test_base_has_the_dataclasses_defaults():
    base = OmegaConf.load(CONFIGS / "maskspec_base.yaml")
    for node, config in [("model", MaskSpecConfig()), ("optimizer", MaskSpecAdamWConfig())]:
        for name, value in base[node].items():
            if name != "_name":
                default = getattr(config, name)
                assert (list(value) if OmegaConf.is_list(value) else value) == default, name
