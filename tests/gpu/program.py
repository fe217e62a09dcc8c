"""What the tests run in processes of their own: `python -m tests.gpu.program FUNCTION ARGUMENT...`."""

import os
import sys

import numpy as np
import torch

from tests.integration.forked import hydra_train


def train(arguments: list[str]) -> None:
    """fairseq-hydra-train."""
    hydra_train(arguments)


def train_deterministically(arguments: list[str]) -> None:
    """fairseq-hydra-train with torch's deterministic algorithms alone."""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # torch asks for it, before CUDA starts
    torch.use_deterministic_algorithms(True)
    hydra_train(arguments)


def ddp_gradients(arguments: list[str]) -> None:
    """Check the gradients of the model in DistributedDataParallel, in the process group that torchrun has set up.

    Args:
        arguments: cuda or cpu.
    """
    from maskspec_fairseq.modules.losses import masked_spectrogram_loss
    from tests.factories import noise, small_autoencoder

    (device,) = arguments
    torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    model = small_autoencoder().to(device)
    parallel = torch.nn.parallel.DistributedDataParallel(model, device_ids=[0] if device == "cuda" else None)
    gradients = []
    for network in (model, parallel):
        output = network(noise(32000).to(device), clip_key=np.array([[1, 1, 0], [1, 1, 1]]))
        total, count = masked_spectrogram_loss(output["prediction"], output["target"], output["scored"])
        (total / count).backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])  # type: ignore[union-attr]
        model.zero_grad()
    for alone, reduced in zip(*gradients):
        torch.testing.assert_close(reduced, alone, rtol=1e-4, atol=1e-5)
    print(f"{len(gradients[0])} gradients agree over {torch.distributed.get_backend()}")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2:])
