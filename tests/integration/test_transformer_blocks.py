"""Runs whose blocks are compiled or checkpointed, against one whose blocks are as they are."""

import pytest

from tests.integration.runs import checkpoint, entries, train

SHARED = ["optimization.max_epoch=8"]


def losses(output: str) -> list[float]:
    return [float(entry["loss"]) for entry in entries(output, "train_inner")]


@pytest.mark.stock
def test_checkpointed_blocks_train_to_the_bit(whole_run, data_dir, tmp_path):
    output = train(data_dir, tmp_path, *SHARED, "optimization.max_update=8", "task.checkpoint_activations=true")
    assert losses(output) == losses(whole_run[1])[:8]


@pytest.mark.slow
@pytest.mark.stock
def test_a_run_resumes_with_and_without_compiled_blocks(whole_run, data_dir, tmp_path):
    """Within an epoch, and at the end of one."""
    outputs = [
        train(data_dir, tmp_path, *SHARED, *fields)
        for fields in (
            ["optimization.max_update=12", "task.compile=true"], ["optimization.max_update=16"], ["task.compile=true"]
        )
    ]  # fmt: skip
    assert "compiling 3 blocks" in outputs[0] and "compiling" not in outputs[1]
    found = [loss for output in outputs for loss in losses(output)]
    assert found == pytest.approx(losses(whole_run[1]), rel=0.01)
    whole, resumed = checkpoint(whole_run[0])["model"], checkpoint(tmp_path)["model"]
    assert list(resumed) == list(whole)
