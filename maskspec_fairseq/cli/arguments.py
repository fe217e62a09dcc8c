"""What the programs share: how help looks, types that refuse what makes no sense, and the list of what failed."""

import argparse
import sys
from typing import Callable, Sequence


def program(name: str, description: str, example: str) -> argparse.ArgumentParser:
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
        type=whole(1),
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


def whole(least: int) -> Callable[[str], int]:
    """A whole number of at least `least`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, found {text}")
        return value

    return parse


def seconds(text: str) -> float:
    """A length above 0."""
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, found {text}")
    return value


def fraction(text: str) -> float:
    """A number from 0 to 1."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a fraction from 0 to 1, found {text}")
    return value


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


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
