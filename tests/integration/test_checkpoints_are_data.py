"""What runs write is read without running code, and what would run code is not read."""

import subprocess
import sys

import pytest

from tests.factories import save_foreign_checkpoint
from tests.integration.runs import checkpoint, train

# In a process that has neither fairseq nor the plugin, whose types torch would be told of.
READ = """
import sys, torch
for path in sys.argv[1:]:
    state = torch.load(path, weights_only=True)
    assert state["model"] and state["last_optimizer_state"]["state"] and state["cfg"]["model"], path
print("read", len(sys.argv) - 1)
"""


@pytest.mark.parametrize("recipe", ["pretraining/demo", "finetuning/demo"])
@pytest.mark.parametrize("precision", ["bf16", pytest.param("float32", marks=pytest.mark.slow)])
def test_every_checkpoint_of_a_run_is_data(data_dir, labelled_dir, tmp_path, recipe, precision):
    """Of epochs, in their midst, best, last; after several validations, and after a resume."""
    data = data_dir if recipe.startswith("pretraining") else labelled_dir
    overrides = [
        "optimization.max_epoch=2", "lr_scheduler.warmup_epochs=0", "checkpoint.keep_last_epochs=2",
        "checkpoint.save_interval_updates=6", "checkpoint.keep_best_checkpoints=3",
        "dataset.validate_interval_updates=6", f"common.bf16={str(precision == 'bf16').lower()}",
    ]  # fmt: skip
    train(data, tmp_path, *overrides, "optimization.max_update=11", recipe=recipe)
    train(data, tmp_path, *overrides, recipe=recipe)
    files = sorted((tmp_path / "checkpoints").glob("*.pt"))
    names = {path.name for path in files}
    assert {"checkpoint_last.pt", "checkpoint_best.pt", "checkpoint2.pt", "checkpoint_2_12.pt"} <= names
    assert any(name.startswith("checkpoint.best_") for name in names)
    done = subprocess.run([sys.executable, "-c", READ, *map(str, files)], capture_output=True, text=True)
    assert done.stdout == f"read {len(files)}\n", done.stderr[-3000:]
    last = checkpoint(tmp_path)
    assert last["extra_state"]["train_iterator"]["epoch"] == 3 and type(last["extra_state"]["best"]) is float


def test_a_run_does_not_start_from_a_checkpoint_with_code(labelled_dir, tmp_path):
    marker = tmp_path / "marker"
    path = save_foreign_checkpoint(tmp_path / "c.pt", marker)
    output = train(labelled_dir, tmp_path / "run", f"model.pretrained={path}", recipe="finetuning/demo", fails=True)
    assert "c.pt: expected a checkpoint of a maskspec run, found:" in output and "open in it" in output
    assert not marker.exists()
