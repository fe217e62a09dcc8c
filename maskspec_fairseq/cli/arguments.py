"""What the programs' command lines share: how help looks, and types that refuse what makes no sense."""

import argparse
from typing import Callable

import torch


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
    parser.add_argument(
        "--device",
        type=device,
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="cpu, cuda, cuda:1, ... (default here: %(default)s)",
    )


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
