"""Who may import whom.

packed < manifest, metrics < modules < data, checkpoints < models, criterions, tasks, optim, conversion, inference
< hear, s3prl_upstream < cli.
"""

import ast
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "maskspec_fairseq"
LAYER = {
    "packed": -1, "host": 0, "manifest": 0, "metrics": 0, "last_checkpoint": 0, "modules": 1,
    "checkpoints": 2, "data": 2, "models": 3, "criterions": 3, "tasks": 3, "optim": 3, "conversion": 3, "inference": 3,
    "hear": 4, "s3prl_upstream": 4, "cli": 5,
}  # fmt: skip
NO_FAIRSEQ = (
    "last_checkpoint", "packed", "manifest", "metrics", "modules", "checkpoints", "conversion", "inference", "hear",
    "s3prl_upstream", "cli",
)  # fmt: skip
NO_TORCH = ("packed", "manifest", "metrics", "last_checkpoint")
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
