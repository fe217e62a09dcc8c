"""How a run executes the transformer blocks: compiled, or computed again in the backward pass to save memory."""

import logging

import torch
from fairseq.modules.checkpoint_activations import checkpoint_wrapper
from torch import nn

from maskspec_fairseq.modules.compiled_blocks import check_compiler, compile_blocks
from maskspec_fairseq.modules.transformer import TransformerBlock

logger = logging.getLogger(__name__)


def compile_for_run(model: nn.Module, cpu: bool) -> None:
    """Compile the blocks for the device of a run (`task.compile`).

    Args:
        cpu: `common.cpu`.

    Raises:
        ValueError: torch or the system cannot compile, see `check_compiler`.
    """
    check_compiler(torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu"))
    logger.info("compiling %d blocks, in the first updates", compile_blocks(model))


def checkpoint_blocks(model: nn.Module, compiled: bool, amp: bool) -> None:
    """Keep the inputs of the blocks alone for the backward pass, by fairseq's wrapper (`task.checkpoint_activations`).

    Args:
        compiled: `task.compile`. amp: `common.amp`.

    Raises:
        ValueError: with one of these, with which fairseq's wrapper does not work, or with frozen parameters, below
            which it would drop gradients.
    """
    if compiled:
        raise ValueError(
            "expected either task.compile=true or task.checkpoint_activations=true, found both; leave one of them out"
        )
    if amp:
        raise ValueError(
            "expected common.fp16 or common.bf16 with task.checkpoint_activations=true, found common.amp=true, which "
            "fairseq's wrapper leaves out in the backward pass; use one of these"
        )
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    if frozen:
        raise ValueError(
            f"expected trained parameters alone with task.checkpoint_activations=true, found {frozen[0]} frozen; "
            "leave it out: what is frozen keeps no activations"
        )
    for module in list(model.modules()):
        if isinstance(module, TransformerBlock):
            checkpoint_wrapper(module)
