"""torch.compile of the transformer blocks, in place: parameters keep their names."""

import re

import torch
from torch import nn

from maskspec_fairseq.modules.transformer import TransformerBlock

# The first in which blocks with the same code share what was compiled for one of them.
FIRST_TORCH = (2, 5)
# All blocks share one cache: encoder, decoder and its last block, each with and without gradients, each for the first
# shape and for later ones. torch's own limit, above which blocks silently run as they are, is 8.
CACHE_SIZE = 64


def check_compiler(device: torch.device) -> None:
    """Compile a sum, the surest way to know whether torch and the system can.

    Raises:
        ValueError: torch is too old, or compiling fails, such as without a C++ compiler.
    """
    found = re.match(r"(\d+)\.(\d+)", torch.__version__)
    if found is None or (int(found[1]), int(found[2])) < FIRST_TORCH:
        raise ValueError(
            f"expected torch {FIRST_TORCH[0]}.{FIRST_TORCH[1]} or newer for task.compile=true, found "
            f"{torch.__version__}; leave it out, or install a newer torch"
        )
    try:
        torch.compile(_add_one)(torch.zeros(2, device=device))
    except Exception as error:  # torch has a class of its own for each reason
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ValueError(
            f"expected a compiler that torch.compile can use on {device.type} for task.compile=true, found "
            f"{type(error).__name__}: {reason}; install a C++ compiler (g++; on a GPU also triton), or leave it out"
        ) from error


def compile_blocks(model: nn.Module, backend: str = "inductor") -> int:
    """Let every transformer block of a model run compiled from its first call on.

    Args:
        backend: see `torch.compile`.

    Returns:
        The number of blocks.
    """
    import torch._dynamo

    torch._dynamo.config.cache_size_limit = max(torch._dynamo.config.cache_size_limit, CACHE_SIZE)
    blocks = [module for module in model.modules() if isinstance(module, TransformerBlock)]
    for block in blocks:
        block.compile(backend=backend)
    return len(blocks)


def _add_one(x: torch.Tensor) -> torch.Tensor:
    return x + 1
