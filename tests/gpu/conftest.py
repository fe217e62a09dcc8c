"""The device of the tests, and the demo corpus."""

import pytest
import torch

from tests.factories import run_build

CLIPS_PER_KIND = {"cuda": 40, "cpu": 3}


@pytest.fixture(scope="session")
def device(request) -> str:
    """cuda or cpu."""
    name = request.config.getoption("--device")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA here; --device cpu runs what needs none")
    return name


@pytest.fixture(scope="session")
def demo_corpus(device, tmp_path_factory):
    data = tmp_path_factory.mktemp("corpus") / "demo"
    run_build("demo", "--out", data, "--clips-per-kind", CLIPS_PER_KIND[device])
    return data
