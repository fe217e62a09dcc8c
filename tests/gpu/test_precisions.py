"""Trainings in half precision, with compiled blocks, checkpointed activations, and a loss scale that overflows."""

import pytest

from tests.gpu.training import losses, train_together

pytestmark = pytest.mark.gpu

MODES = {
    "fp16": ["common.fp16=true"],
    "bf16": ["common.bf16=true"],
    "amp": ["common.amp=true"],
    "memory_efficient_fp16": ["common.fp16=true", "common.memory_efficient_fp16=true"],
    "memory_efficient_bf16": ["common.bf16=true", "common.memory_efficient_bf16=true"],
    "compile": ["task.compile=true"],
    "compile_bf16": ["task.compile=true", "common.bf16=true"],
    "checkpoint_activations": ["task.checkpoint_activations=true", "common.bf16=true"],
}
# The loss is summed over values, so its gradients overflow at fairseq's first scale, 128, and the updates are lost.
# At 1 none is, and the curves can be compared.
SCALE = ["common.fp16_init_scale=1"]
OVERFLOW = ["common.fp16=true", f"common.fp16_init_scale={2**12}"]
# Without float32 weights, an update that is small compared with its weight is rounded away: 8 bits of bf16 lose many.
BOUNDS = {**{mode: 0.02 for mode in MODES}, "memory_efficient_bf16": 0.1}


@pytest.fixture(scope="module")
def precisions(device, demo_corpus, tmp_path_factory, request):
    """What the trainings in float32 and in the chosen modes print, and on a GPU one whose loss scale overflows."""
    chosen = {item.callspec.params["mode"] for item in request.session.items if "mode" in item.fixturenames}
    runs = {mode: [*MODES[mode], *SCALE] for mode in MODES if mode in chosen}
    if device == "cuda":
        runs["overflow"] = OVERFLOW
    return train_together(device, demo_corpus, tmp_path_factory.mktemp("precisions"), {"float32": [], **runs})


@pytest.mark.parametrize(
    "mode", [mode if mode in ("fp16", "bf16") else pytest.param(mode, marks=pytest.mark.slow) for mode in MODES]
)
def test_loss_curves_are_those_of_float32_as_it_is(precisions, mode):
    for kind, name in (("train", "train_loss"), ("valid", "valid_loss")):
        expected, found = (losses(precisions[run], kind, name) for run in ("float32", mode))
        assert len(found) >= 2 and found == pytest.approx(expected, rel=BOUNDS[mode])
        assert found[-1] < found[0]


def test_a_loss_scale_that_overflows_is_lowered(device, precisions):
    if device == "cpu":
        pytest.skip("fairseq answers an overflow by a call of CUDA's")
    output = precisions["overflow"]
    assert "gradient overflow detected" in output
    assert losses(output, "train_inner", "loss_scale")[-1] < 2**12
    found = losses(output, "valid", "valid_loss")
    assert found[-1] < found[0]
    assert found[-1] == pytest.approx(losses(precisions["float32"], "valid", "valid_loss")[-1], rel=0.2)  # less updates
