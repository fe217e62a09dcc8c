"""The examples in docstrings, and those of docs/use_a_model.md that need no checkpoint, run and hold."""

import doctest
import importlib
import re

import pytest
import torch

from tests.factories import REPOSITORY

FILES = sorted((REPOSITORY / "maskspec_fairseq").rglob("*.py"))
MODULES = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in FILES if ">>> " in path.read_text()]


def test_public_classes_and_functions_have_examples():
    examples = {
        test.name.split(".")[-1]
        for name in MODULES
        for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
        if test.examples
    }
    expected = {"LogMel", "MaskedAutoencoder", "SpectrogramClassifier", "maskspec_tiny", "patchify", "random_masking"}
    assert expected <= examples


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted and not result.failed


def test_the_page_shows_the_modules_as_plain_torch():
    page = (REPOSITORY / "docs" / "use_a_model.md").read_text()
    section = page.partition("\n## Plain torch\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 2
    torch.manual_seed(0)
    names = {}
    for block in blocks:
        exec(block, names)
    model, classifier = names["model"], names["classifier"]
    assert torch.isfinite(names["total"]) and all(weight.grad is not None for weight in model.parameters())
    assert names["logits"].shape == (4, 10) and names["embedding"].shape == (4, 192)
    for name, weight in classifier.state_dict().items():
        if not name.startswith("head."):
            assert torch.equal(weight, model.state_dict()[name]), name
