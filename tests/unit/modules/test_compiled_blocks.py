"""Compiled blocks compute the same under the same names; what cannot compile is refused."""

import shutil

import numpy as np
import pytest
import torch

from maskspec_fairseq.modules import compiled_blocks
from maskspec_fairseq.modules.compiled_blocks import check_compiler, compile_blocks
from tests.factories import noise, small_autoencoder

pytestmark = pytest.mark.gpu  # where it pays; on a CPU it takes half a minute to show that it is right

CPU = torch.device("cpu")
KEYS = np.array([[1, 1, clip] for clip in range(4)])


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def forward(model, clips=4, samples=32000):
    return model(noise(samples, clips), clip_key=KEYS[:clips])["prediction"]


def test_names_and_numbers_stay():
    plain, compiled = small_autoencoder(drop_path=0.2), small_autoencoder(drop_path=0.2)
    assert compile_blocks(compiled, backend="eager") == 4
    assert list(compiled.state_dict()) == list(plain.state_dict())
    expected, found = forward(plain), forward(compiled)
    torch.testing.assert_close(found, expected)
    for output in (expected, found):
        output.square().sum().backward()
    for (name, value), other in zip(plain.named_parameters(), compiled.parameters()):
        torch.testing.assert_close(other.grad, value.grad, msg=name)


@pytest.mark.parametrize("attention", ["self", "cross"])
def test_no_block_falls_back_for_all_that_a_run_does(attention):
    """Training and validation, a short last batch, and clips of another length."""
    model = small_autoencoder(decoder_attention=attention)
    compile_blocks(model, backend="eager")
    for clips, samples in ((4, 32000), (3, 32000), (2, 32000), (1, 32000), (4, 48000)):
        forward(model.train(), clips, samples).sum().backward()
        with torch.no_grad():
            forward(model.eval(), clips, samples)
    frames = torch._dynamo.utils.counters["frames"]
    assert frames["ok"] > 0 and frames["ok"] == frames["total"]


@pytest.mark.slow
def test_inductor_computes_the_same():
    plain, compiled = small_autoencoder(), small_autoencoder()
    check_compiler(CPU)
    compile_blocks(compiled)
    torch.testing.assert_close(forward(compiled), forward(plain), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_compiler_that_is_there_is_accepted():
    check_compiler(CPU)


def test_an_old_torch_is_refused(monkeypatch):
    monkeypatch.setattr(compiled_blocks.torch, "__version__", "2.4.1+cu121")
    with pytest.raises(
        ValueError, match=r"expected torch 2.5 or newer for task.compile=true, found 2.4.1\+cu121; leave"
    ):
        check_compiler(CPU)


def test_a_system_without_a_compiler_is_refused(monkeypatch):
    inductor = pytest.importorskip("torch._inductor.config")
    inductor_utils = pytest.importorskip("torch._inductor.utils")
    without = inductor.patch({"cpp.cxx": ("no-such-compiler",), "fx_graph_cache": False})
    message = (
        "expected a compiler that torch.compile can use on cpu for task.compile=true, found .* install a C.. compiler"
    )
    with inductor_utils.fresh_inductor_cache(), without, pytest.raises(ValueError, match=message):
        check_compiler(CPU)
