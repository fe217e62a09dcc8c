"""The plugin as fairseq imports it: from the path in user_dir, in a process of its own."""

import argparse

import pytest

from tests.integration.forked import REPOSITORY, ForkedProcess


def check_registered():
    """Every name of registered_names.py, each in its own registry."""
    from fairseq.criterions import CRITERION_REGISTRY
    from fairseq.models import MODEL_REGISTRY
    from fairseq.optim import OPTIMIZER_REGISTRY
    from fairseq.optim.lr_scheduler import LR_SCHEDULER_REGISTRY
    from fairseq.tasks import TASK_REGISTRY

    from maskspec_fairseq import registered_names as names

    registries = {
        "MODEL": MODEL_REGISTRY, "TASK": TASK_REGISTRY, "CRITERION": CRITERION_REGISTRY,
        "OPTIMIZER": OPTIMIZER_REGISTRY, "SCHEDULER": LR_SCHEDULER_REGISTRY,
    }  # fmt: skip
    checked = 0
    for name, value in vars(names).items():
        if isinstance(value, str) and name.isupper():
            assert value in registries[name.split("_")[-1]], (name, value)
            checked += 1
    assert checked >= 8
    import maskspec_fairseq.models
    import maskspec_fairseq.tasks  # noqa: F401

    print("registered")


def import_by_path(times):
    from fairseq import utils

    for _ in range(times):
        utils.import_user_module(argparse.Namespace(user_dir=f"{REPOSITORY}/maskspec_fairseq"))
    check_registered()


def import_after_fairseq():
    import fairseq  # noqa: F401

    import maskspec_fairseq  # noqa: F401

    check_registered()


@pytest.mark.stock
@pytest.mark.parametrize(
    "function, arguments", [(import_by_path, [1]), (import_by_path, [2]), (import_after_fairseq, [])]
)
def test_registers(tmp_path, function, arguments):
    output = tmp_path / "output"
    assert ForkedProcess(str(output), function, *arguments).wait() == 0, output.read_text()
    assert output.read_text().endswith("registered\n")


def check_option_names():
    """No option of ours has the name of a field of fairseq's, which `fairseq-train` would set together with it."""
    from fairseq import options, utils
    from fairseq.dataclass.configs import FairseqConfig
    from fairseq.dataclass.utils import gen_parser_from_dataclass

    theirs = {
        name
        for node in FairseqConfig.__dataclass_fields__.values()
        if hasattr(node.type, "__dataclass_fields__")
        for name in node.type.__dataclass_fields__
    }
    for make in (options.get_training_parser, options.get_validation_parser, options.get_generation_parser):
        theirs |= {action.dest for action in make()._actions}
    assert {"sampling", "lr", "seed"} <= theirs
    utils.import_user_module(argparse.Namespace(user_dir=f"{REPOSITORY}/maskspec_fairseq"))

    from maskspec_fairseq.criterions.maskspec_classification import MaskSpecClassificationConfig
    from maskspec_fairseq.models.maskspec import MaskSpecConfig
    from maskspec_fairseq.models.maskspec_classifier import MaskSpecClassifierConfig
    from maskspec_fairseq.optim.maskspec_adamw import MaskSpecAdamWConfig
    from maskspec_fairseq.optim.maskspec_cosine import MaskSpecCosineConfig
    from maskspec_fairseq.tasks.maskspec_finetuning import MaskSpecFinetuningConfig
    from maskspec_fairseq.tasks.maskspec_pretraining import MaskSpecPretrainingConfig

    for config in (
        MaskSpecFinetuningConfig, MaskSpecPretrainingConfig, MaskSpecClassifierConfig, MaskSpecConfig,
        MaskSpecClassificationConfig, MaskSpecAdamWConfig, MaskSpecCosineConfig,
    ):  # fmt: skip
        parser = argparse.ArgumentParser()
        gen_parser_from_dataclass(parser, config())
        ours = {action.dest for action in parser._actions} - {"help"}
        assert not ours & theirs, (config, ours & theirs)
    print("no name twice")


@pytest.mark.stock
def test_no_option_has_the_name_of_one_of_fairseqs(tmp_path):
    output = tmp_path / "output"
    assert ForkedProcess(str(output), check_option_names).wait() == 0, output.read_text()
    assert output.read_text().endswith("no name twice\n")
