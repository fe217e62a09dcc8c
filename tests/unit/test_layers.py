"""Who may import whom: a file imports only from the layers below its own, and from its own folder."""

import ast
import re
from pathlib import Path

import pytest

from tests.factories import REPOSITORY

PACKAGE = REPOSITORY / "maskspec_fairseq"
LAYER = {
    "fairseq_compat": 0, "argument_types": 0, "atomic_write": 0, "clip_rng": 0, "metrics": 0, "registered_names": 0,
    "hydra_override": 0, "training_log": 0, "fields": 0, "event_metrics": 0,
    "audio": 1, "data_dir": 1, "modules": 1, "plots": 1,
    "checkpoints": 2, "data": 2,
    "corpora": 3, "models": 3, "criterions": 3, "tasks": 3, "optim": 3, "conversion": 3, "inference": 3,
    "integrations": 4, "page": 4, "hear": 5, "cli": 5,
}  # fmt: skip
FAIRSEQ = ("fairseq_compat", "data", "models", "criterions", "tasks", "optim")
NO_FAIRSEQ = tuple(name for name in LAYER if name not in FAIRSEQ)
NO_TORCH = (
    "argument_types",
    "atomic_write",
    "clip_rng",
    "event_metrics",
    "metrics",
    "registered_names",
    "hydra_override",
    "fields",
    "training_log",
    "audio",
    "data_dir",
    "corpora",
    "plots",
)
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_point_downwards(file):
    own = file.parts[0].replace(".py", "")
    for name in imports(PACKAGE / file):
        parts = name.split(".")
        if parts[0] == "maskspec_fairseq":
            assert parts[1] == own or LAYER[parts[1]] < LAYER[own], f"{file} imports {name}"
        if own in NO_FAIRSEQ:
            assert parts[0] not in ("fairseq", "omegaconf", "hydra"), f"{file} imports {name}"
        if own in NO_TORCH:
            assert parts[0] != "torch", f"{file} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_no_program_is_imported_by_another_module(file):
    """What two modules need is not in a program."""
    shared = ("maskspec_fairseq.cli.arguments", "maskspec_fairseq.cli.program", "maskspec_fairseq.cli.programs")
    for name in imports(PACKAGE / file):
        if name.startswith("maskspec_fairseq.cli."):
            assert name.startswith(shared), f"{file} imports {name}"


@pytest.mark.parametrize("folder", ["maskspec_fairseq", "manifests", "benchmarks", "experiments", "tests"])
def test_nobody_changes_the_import_path(folder):
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"sys\.path\.(append|insert|extend)|syspath_prepend", text) or path == Path(__file__), path


def test_test_files_import_nothing_from_each_other():
    for path in sorted((REPOSITORY / "tests").rglob("test_*.py")):
        for name in imports(path):
            assert not re.match(r"tests\..*\.test_", name) or name.endswith(".NO_FAIRSEQ"), f"{path} imports {name}"
