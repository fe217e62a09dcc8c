"""Types of command-line arguments (`type=` of argparse) that reject values out of range, and a default."""

import argparse
import os
import re
from pathlib import Path
from typing import Callable, Union

# Of --workers: on two cores, a process that loads slows the encoder by more than it saves.
WORKERS = int((os.cpu_count() or 1) > 2)


def output_name(text: str) -> str:
    """The name of a file or a folder to write, which is not empty, as a shell variable that is not set is.

    Raises:
        argparse.ArgumentTypeError: it is empty.
    """
    if not text:
        raise argparse.ArgumentTypeError("expected a name, found an empty one; is a variable of the shell not set?")
    return text


def output_path(text: str) -> Path:
    """`output_name` as a path."""
    return Path(output_name(text))


def int_at_least(minimum: int) -> Callable[[str], int]:
    """The type of a whole number of at least `minimum`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {minimum}, found {text}")
        return value

    return parse


def layers(text: str) -> Union[str, list[int]]:
    """Numbers of layers, separated by commas, or "all".

    Raises:
        argparse.ArgumentTypeError: the text is neither.
    """
    if text == "all":
        return text
    if not re.fullmatch(r"\d+(,\d+)*", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"expected numbers of layers, such as 6 or 6,12, or all, found {text}")
    return [int(number) for number in text.split(",")]


def seconds(text: str) -> float:
    """A length above 0, s.

    Raises:
        argparse.ArgumentTypeError: the text is not such a number.
    """
    return _number(text, "seconds above 0", lambda value: 0 < value < float("inf"))


def seconds_or_zero(text: str) -> float:
    """A length of 0 or above, s.

    Raises:
        argparse.ArgumentTypeError: the text is not such a number.
    """
    return _number(text, "seconds of 0 or above", lambda value: 0 <= value < float("inf"))


def fraction(text: str) -> float:
    """A number from 0 to 1.

    Raises:
        argparse.ArgumentTypeError: the text is not such a number.
    """
    return _number(text, "a fraction from 0 to 1", lambda value: 0 <= value <= 1)


def pattern_with_group(text: str) -> re.Pattern[str]:
    """A regular expression with a group.

    Raises:
        argparse.ArgumentTypeError: the text is not such an expression.
    """
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"expected a regular expression, found {text}: {error}") from error
    if not pattern.groups:
        raise argparse.ArgumentTypeError(f"expected a regular expression with a group in `()`, found {text}")
    return pattern


def _number(text: str, expected: str, accepts: Callable[[float], bool]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not accepts(value):
        raise argparse.ArgumentTypeError(f"expected {expected}, found {text}")
    return value
