"""Every recipe composes, says how it is run, and lists the fields that its users will want to override."""

import math
import re
from dataclasses import fields

import pytest
import torch
from fairseq.optim.lr_scheduler import build_lr_scheduler
from omegaconf import OmegaConf
from torch.nn import Parameter

from maskspec_fairseq import fairseq_compat
from maskspec_fairseq.checkpoints.read import ENCODER_FIELDS
from maskspec_fairseq.criterions.maskspec_classification import MaskSpecClassificationConfig
from maskspec_fairseq.models.maskspec import MaskSpecConfig
from maskspec_fairseq.models.maskspec_classifier import MaskSpecClassifierConfig
from maskspec_fairseq.modules.masking import num_hidden
from maskspec_fairseq.modules.sizes import SIZES
from maskspec_fairseq.optim.maskspec_adamw import MaskSpecAdamW, MaskSpecAdamWConfig
from maskspec_fairseq.optim.maskspec_cosine import MaskSpecCosineConfig
from maskspec_fairseq.tasks.maskspec_finetuning import MaskSpecFinetuningConfig
from maskspec_fairseq.tasks.maskspec_pretraining import MaskSpecPretrainingConfig
from tests.fairseq_factories import BASES, CONFIGS, STAGE_OF, compose_recipe

CORPORA = ["audioset_20k", "audioset_2m", "dcase2019_task1a", "esc50", "openmic2018", "speech_commands_v2"]


@pytest.mark.parametrize("recipe", STAGE_OF)
def test_recipe_composes_and_opens_with_its_command_and_hardware(recipe):
    stage, name = STAGE_OF[recipe], recipe.split("/")[-1]
    comment = re.match(r"(#.*\n)+", (CONFIGS / stage / f"{name}.yaml").read_text())[0]
    command = re.sub(r" \\\n#", "", comment)
    command = re.search(
        rf"fairseq-hydra-train --config-dir config/{stage} --config-name {name} +task.data=(.*)", command
    )
    cfg = compose_recipe(recipe, *re.findall(r"task.(?:fold|channel)=\S+", command[1]))
    assert cfg.task._name == f"maskspec_{stage}"
    assert cfg.model._name == {"pretraining": "maskspec", "finetuning": "maskspec_classifier"}[stage]
    assert re.search(r"^# For (2 CPU cores|one GPU|8 GPUs)", comment, re.MULTILINE)


@pytest.mark.parametrize("path", [*CONFIGS.glob("*/*/*.yaml")], ids=lambda path: f"{path.parts[-3]}/{path.stem}")
def test_parts_of_recipes_say_in_a_line_what_they_are_and_are_used(path):
    package, description, first, *_ = path.read_text().splitlines()
    assert package == "# @package _global_" and description.startswith("# ") and not first.startswith("#")
    default = f"  - {path.parts[-2]}: {path.stem}"
    recipes = (CONFIGS / path.parts[-3]).glob("*.yaml")
    assert path.parts[-2] == "size" or any(default in recipe.read_text().splitlines() for recipe in recipes)


PRETRAINING_OF = {
    recipe: match[1]
    for recipe, stage in STAGE_OF.items()
    for match in [
        re.search(
            r"(?:the pretrained|comes from) (\w+)", (CONFIGS / f"{stage}/{recipe.split('/')[-1]}.yaml").read_text()
        )
    ]
    if match
}


@pytest.mark.parametrize("recipe", PRETRAINING_OF)
def test_the_checkpoint_that_a_header_names_fits(recipe):
    """The encoder and the front end, the sample rate included; positions may be learned from sinusoidal ones."""
    finetuning = compose_recipe(recipe, *(["task.fold=1"] if "esc" in recipe else []))
    pretraining = compose_recipe(PRETRAINING_OF[recipe])
    for name in ENCODER_FIELDS:
        if name not in ("sample_rate", "position_grid"):
            assert finetuning.model[name] == pretraining.model[name], name
    assert pretraining.model.position_grid in ([], finetuning.model.position_grid)
    assert finetuning.task.sample_rate == pretraining.task.sample_rate


@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize("size, width", [("base", 768), ("small", 384), ("tiny", 192)])
def test_finetuning_has_the_papers_hyperparameters_in_every_size(corpus, size, width):
    cfg = compose_recipe(f"finetuning/{corpus}", f"size={size}", "task.fold=1")
    assert (cfg.model.encoder_embed_dim, cfg.model.encoder_layers) == (width, 12)
    assert (cfg.optimization.max_epoch, cfg.lr_scheduler.warmup_epochs) == (80 if "audioset" in corpus else 100, 5)
    assert list(cfg.optimization.lr) == [0.001] and cfg.optimizer.layer_decay == 0.75
    assert cfg.optimizer.weight_decay == 0.05
    assert (cfg.task.wave_mixup, cfg.task.spec_mixup_alpha) == (0.5, 0.3)
    assert 0 < cfg.task.roll_sec <= cfg.task.clip_sec
    several = corpus.startswith(("audioset", "openmic"))
    assert cfg.task.target_is_multilabel == several
    assert cfg.checkpoint.best_checkpoint_metric == ("mAP" if several else "accuracy")
    assert (cfg.task.clip_sampling, cfg.task.num_draws) == (
        ("passt", 100000) if corpus == "audioset_2m" else ("all", 0)
    )


@pytest.mark.parametrize("size, width", [("base", 768), ("small", 384), ("tiny", 192)])
def test_the_recipe_for_own_labels_has_every_size_and_both_kinds_of_labels(size, width):
    several = ("task.target_is_multilabel=true", "checkpoint.best_checkpoint_metric=mAP")
    cfg = compose_recipe("finetuning/folder", f"size={size}", *several)
    assert cfg.model.encoder_embed_dim == width and cfg.task.target_is_multilabel and cfg.task.fold == 0
    cfg = compose_recipe("finetuning/folder")
    assert cfg.model.encoder_embed_dim == 192 and cfg.checkpoint.best_checkpoint_metric == "accuracy"


@pytest.mark.parametrize("corpus", CORPORA)
def test_reference_recipes_have_the_released_codes_settings(corpus):
    cfg = compose_recipe(f"finetuning/{corpus}_reference", "task.fold=1")
    assert (
        list(cfg.model.position_grid) == [8, 62]
        and cfg.model.norm_after_pool
        and cfg.lr_scheduler.min_lr == 1e-6
        and cfg.model.drop_path == 0.1
    )
    # 1e-3 (DCASE: 5e-3) for 256 clips per update over its GPUs of 64 clips each
    base, gpus = {"audioset_2m": (1e-3, 8), "audioset_20k": (1e-3, 8), "dcase2019_task1a": (5e-3, 1)}.get(
        corpus, (1e-3, 1)
    )
    assert list(cfg.optimization.lr) == [pytest.approx(base * gpus * 64 / 256)]
    assert cfg.optimization.max_epoch == (200 if corpus == "dcase2019_task1a" else 80)
    if corpus == "audioset_2m":  # all 8 GPUs draw the same 100,000 clips, and drop the last ones
        assert cfg.task.num_draws / (8 * cfg.dataset.batch_size) == 100000 // 64
    else:
        assert cfg.dataset.batch_size == 64
    if corpus == "speech_commands_v2":
        assert cfg.model.patchout == 0
    else:  # of 10 s and of 5 s
        assert [num_hidden(patches, cfg.model.patchout) for patches in (496, 248)] == [200, 100]
    assert (cfg.task.wave_mixup == 0) == (corpus == "openmic2018")


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


def test_the_reference_pretraining_is_the_first_61_epochs_of_a_cosine_over_400(monkeypatch):
    cfg = compose_recipe("maskspec_base_reference")
    monkeypatch.setattr(fairseq_compat, "_batches", 5)  # per epoch
    optimizer = MaskSpecAdamW(MaskSpecAdamWConfig(lr=[2e-3], fp16=False, bf16=False), [Parameter(torch.zeros(2, 2))])
    schedule = build_lr_scheduler(cfg.lr_scheduler, optimizer)
    assert cfg.optimization.max_epoch == 61
    expected = 1e-3 * (1 + math.cos(math.pi * (61 - 40) / (400 - 40)))
    assert schedule.step_update(61 * 5) == pytest.approx(expected)


@pytest.mark.parametrize("size", SIZES)
def test_fast_recipes_differ_from_the_papers_in_their_decoder_alone(size):
    papers, fast = compose_recipe(f"maskspec_{size}"), compose_recipe(f"maskspec_{size}_fast")
    differing = {name for name in papers.model if papers.model[name] != fast.model[name]}
    assert differing == {"decoder_share", "decoder_layers", "decoder_attention"} and papers.model.decoder_share == 1
    assert all(papers[part] == fast[part] for part in papers if part != "model")


@pytest.mark.parametrize("recipe", ["esc10", "esc50", "speech_commands_v2"])
def test_an_attentive_probe_is_any_recipe_with_another_readout(recipe):
    fold = [] if recipe == "speech_commands_v2" else ["task.fold=1"]
    full, probe = (compose_recipe(f"finetuning/{recipe}", *fold, *more) for more in ([], ["+readout=attentive_probe"]))
    assert {name for name in full.model if full.model[name] != probe.model[name]} == {"pool", "freeze_encoder"}
    assert probe.model.pool == "attention" and probe.model.freeze_encoder
    assert all(full[part] == probe[part] for part in full if part not in ("model", "optimization"))
    if recipe == "esc10":
        assert compose_recipe("finetuning/esc10_attentive_probe", *fold).model == probe.model


@pytest.mark.parametrize("stage", BASES)
def test_runs_do_not_share_a_directory(stage):
    directories = []
    for name in (recipe.split("/")[-1] for recipe, own in STAGE_OF.items() if own == stage):
        own_text = (CONFIGS / stage / f"{name}.yaml").read_text()
        parts = [f"{part}.yaml" for part in re.findall(r"^  - ([\w: ]+)$", own_text, re.MULTILINE) if part != "_self_"]
        texts = [own_text, *((CONFIGS / stage / part.replace(": ", "/")).read_text() for part in parts)]
        directory = re.findall(r"^    dir: (\S+)", "\n".join(texts), re.MULTILINE)[-1]
        directories.append(directory.replace("${hydra:job.config_name}", name))
    assert len(set(directories)) == len(directories)


@pytest.mark.parametrize(
    "stage, node, config",
    [
        ("pretraining", "task", MaskSpecPretrainingConfig),
        ("pretraining", "model", MaskSpecConfig),
        ("finetuning", "task", MaskSpecFinetuningConfig),
        ("finetuning", "model", MaskSpecClassifierConfig),
        ("finetuning", "criterion", MaskSpecClassificationConfig),
        *((stage, "optimizer", MaskSpecAdamWConfig) for stage in BASES),
        *((stage, "lr_scheduler", MaskSpecCosineConfig) for stage in BASES),
    ],
)
def test_bases_list_every_field_so_that_plain_overrides_work(stage, node, config):
    """hydra takes `model.dropout=0.1` only for a field that the YAML has; interpolated fields are others' to set."""
    base = OmegaConf.load(CONFIGS / stage / f"{BASES[stage]}.yaml")
    own = {f.name for f in fields(config) if not str(f.default).startswith("${") and not f.name.startswith("_")}
    assert own == set(base[node]) - {"_name", "sampling"}  # a former name, to be refused with the new one


@pytest.mark.parametrize(
    "stage, node, config",
    [
        ("pretraining", "model", MaskSpecConfig),
        ("pretraining", "optimizer", MaskSpecAdamWConfig),
        ("finetuning", "model", MaskSpecClassifierConfig),
        ("finetuning", "criterion", MaskSpecClassificationConfig),
    ],
)
def test_bases_have_the_dataclasses_defaults(stage, node, config):
    for name, value in OmegaConf.load(CONFIGS / stage / f"{BASES[stage]}.yaml")[node].items():
        if name != "_name":
            assert (list(value) if OmegaConf.is_list(value) else value) == getattr(config(), name), name
