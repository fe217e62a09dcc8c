import shlex

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from maskspec_fairseq.cli.convert import report
from maskspec_fairseq.conversion.overrides import RECIPE, TASK_FIELDS, finetuning_overrides
from tests.factories import REPOSITORY, classifier_cfg


def recipe():
    return yaml.safe_load((REPOSITORY / "config" / "finetuning" / "base.yaml").read_text())


def test_the_overrides_start_from_the_recipes_values():
    found = recipe()
    assert {name: found["task" if name in TASK_FIELDS else "model"][name] for name in RECIPE} == RECIPE


def test_overrides_are_the_differences_from_the_recipe():
    model, task = recipe()["model"], recipe()["task"]
    assert finetuning_overrides({"model": model, "task": dict(task, clip_sec=10.0)}) == []
    other = {"model": dict(model, cls_token=True, encoder_layers=24), "task": dict(task, sample_rate=16000, clip_sec=5)}
    assert finetuning_overrides(other) == [
        "task.sample_rate=16000", "model.encoder_layers=24", "model.cls_token=true", "task.clip_sec=5"
    ]  # fmt: skip


def test_what_is_printed_can_be_pasted(capsys):
    path = "runs/it's [a], b/out.pt"
    cfg = classifier_cfg(position_grid=[8, 62], patch_size=[16, 4])
    report("a layout", {"model": cfg, "task": {"target_is_multilabel": False}}, path)
    printed = capsys.readouterr().out
    assert "5 classes, one per clip\n" in printed
    words = shlex.split(printed.partition("to finetune it: ")[2])
    found = {o.key_or_group: o.value() for o in OverridesParser.create().parse_overrides(words)}
    assert found["model.pretrained"] == path and found["model.position_grid"] == [8, 62]
    assert found["model.patch_size"] == [16, 4]
