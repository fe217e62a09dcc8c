"""The plugin as fairseq imports it: from the path in user_dir, in a process of its own."""

import subprocess
import sys

import pytest

SNIPPET = """
import argparse
from fairseq import utils
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.models import MODEL_REGISTRY
from fairseq.optim import OPTIMIZER_REGISTRY
from fairseq.optim.lr_scheduler import LR_SCHEDULER_REGISTRY
from fairseq.tasks import TASK_REGISTRY
for user_dir in {user_dirs}:
    utils.import_user_module(argparse.Namespace(user_dir=user_dir))
assert "maskspec_pretraining" in TASK_REGISTRY and "maskspec" in MODEL_REGISTRY
assert "maskspec_prediction" in CRITERION_REGISTRY
assert "maskspec_adamw" in OPTIMIZER_REGISTRY and "maskspec_cosine" in LR_SCHEDULER_REGISTRY
import maskspec_fairseq.tasks, maskspec_fairseq.models
print("registered")
"""


@pytest.mark.parametrize("times", [1, 2])
def test_registers_by_path(repository, tmp_path, times):
    code = SNIPPET.format(user_dirs=[f"{repository}/maskspec_fairseq"] * times)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "registered\n", done.stderr


def test_registers_where_fairseq_was_imported_before(tmp_path):
    code = SNIPPET.format(user_dirs=[]).replace("import argparse", "import argparse, fairseq, maskspec_fairseq")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "registered\n", done.stderr
