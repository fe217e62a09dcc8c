"""What the programs share: how help looks, types that refuse what makes no sense, and the list of what failed."""

import argparse
import sys
from typing import Sequence

from maskspec_fairseq.argument_types import int_at_least


def make_parser(name: str, description: str, example: str) -> argparse.ArgumentParser:
    """A parser whose help ends with an example, one or several commands."""
    lines = "".join(f"\n  {line}" for line in example.splitlines())
    return argparse.ArgumentParser(
        prog=name,
        description=description,
        epilog=f"example:{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device: a GPU where there is one."""
    import torch  # here and in `device`: manifests/build.py, which uses the rest, starts without it

    parser.add_argument(
        "--device",
        type=device,
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="cpu, cuda, cuda:1, ... (default here: %(default)s)",
    )


def add_batch_size(parser: argparse.ArgumentParser, default: int) -> None:
    """Add --batch-size for windows of one file."""
    parser.add_argument(
        "--batch-size",
        type=int_at_least(1),
        default=default,
        metavar="N",
        help="windows of one file that are encoded together, on a CPU at most 4 (default: %(default)s)",
    )


def exit_code(parser: argparse.ArgumentParser, failed: Sequence[str], what: str) -> int:
    """0 where nothing has failed; else 2, and a list on stderr.

    Args:
        failed: the reasons.
        what: of what they are, such as "6 files could not be tagged".
    """
    if not failed:
        return 0
    print(f"{parser.prog}: {len(failed)} of {what}:", *(f"  {reason}" for reason in failed), sep="\n", file=sys.stderr)
    return 2


def device(text: str) -> str:
    """The name of a device that is there."""
    import torch

    try:
        torch.zeros(1, device=text).item()
    except (AssertionError, RuntimeError) as error:  # torch without CUDA asserts that it has it
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise argparse.ArgumentTypeError(
            f"expected a device of this machine, found none for {text} ({reason}); use --device cpu"
        ) from None
    return text
