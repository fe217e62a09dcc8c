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
