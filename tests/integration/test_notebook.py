"""docs/own_audio.ipynb runs from its first cell to its last, on the demo corpus with settings that take a minute."""

import os
import re
import sys
from pathlib import Path

import pytest

from tests.factories import REPOSITORY

nbformat = pytest.importorskip("nbformat", reason="reads the notebook")
PATH = REPOSITORY / "docs" / "own_audio.ipynb"
TINY = "%env CLIPS_PER_KIND=4\n%env PRETRAINING_EPOCHS=3\n%env FINETUNING_EPOCHS=1"


def test_it_is_stored_without_outputs():
    notebook = nbformat.read(PATH, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")


def test_its_links_lead_somewhere():
    texts = [cell.source for cell in nbformat.read(PATH, as_version=4).cells if cell.cell_type == "markdown"]
    targets = re.findall(r"\]\((\w+\.md)\)", "".join(texts))
    assert len(targets) > 3 and all((PATH.parent / target).is_file() for target in targets)


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="executes the notebook")
    pytest.importorskip("ipykernel", reason="executes the notebook")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(PATH, as_version=4)
    (number,) = [n for n, cell in enumerate(notebook.cells) if "settings" in cell.metadata.get("tags", [])]
    known = set(re.findall(r"%env (\w+)=", notebook.cells[number].source))
    assert set(re.findall(r"%env (\w+)=", TINY)) < known
    notebook.cells.insert(number + 1, nbformat.v4.new_code_cell(TINY))
    patience = dict(timeout=600, startup_timeout=300)  # s, on a machine with other work, too
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}, **patience).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.get("text", "") for output in outputs)
    assert '"valid_loss"' in text and re.search(r"linear +accuracy 0\.\d+", text)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert "torch.Size([1, 10])" in outputs[-1]["data"]["text/plain"]
    assert (tmp_path / "exported" / "model.safetensors").is_file()
