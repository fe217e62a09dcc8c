"""The fields of a file from anywhere: their types and ranges, checked before anything is made of them."""

import json
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple


class Field(NamedTuple):
    """What a field may hold: in words, and as a test of a value."""

    expected: str
    accepts: Callable[[Any], bool]


FLAG = Field("true or false", lambda value: isinstance(value, bool))
TEXT = Field("text", lambda value: isinstance(value, str))


def int_between(low: int, high: int, step: int = 1) -> Field:
    """A whole number of a range, both ends included, and a multiple of `step`."""
    return Field(
        f"a whole number from {low} to {high}" + (f" in multiples of {step}" if step > 1 else ""),
        lambda value: type(value) is int and low <= value <= high and value % step == 0,
    )


def number(low: float, high: float) -> Field:
    """A number of a range, both ends included; NaN is in none."""
    return Field(
        f"a number from {low:g} to {high:g}", lambda value: type(value) in (int, float) and low <= value <= high
    )


def one_of(*values: str) -> Field:
    return Field(f"one of {', '.join(values)}", lambda value: isinstance(value, str) and value in values)


def either(first: Field, second: Field) -> Field:
    """What one of two fields may hold."""
    return Field(f"{first.expected}, or {second.expected}", lambda value: first.accepts(value) or second.accepts(value))


def list_of(item: Field, *lengths: int) -> Field:
    """A list whose items are all like `item`; of any length unless some are named."""
    of_length = f" of length {' or '.join(map(str, lengths))}" if lengths else ""
    return Field(
        f"a list{of_length}, of which each item is {item.expected}",
        lambda values: (
            isinstance(values, Sequence)
            and not isinstance(values, str)
            and (not lengths or len(values) in lengths)
            and all(map(item.accepts, values))
        ),
    )


def check_fields(found: Any, fields: Mapping[str, Field], where: str, required: Sequence[str] = ()) -> None:
    """Check the fields that are there, and that the required ones are; others than those of the table are left alone.

    Args:
        where: the file, and the part of it.

    Raises:
        ValueError: not a table of fields, a required one is missing, or one holds something else than it may.
    """
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{where}: expected a table of fields, found {reprlib.repr(found)}")
    for name in required:
        if name not in found:
            raise ValueError(f"{where}: expected the field {name!r}, found none; write the file again")
    for name, field in fields.items():
        if name in found and not field.accepts(found[name]):
            raise ValueError(f"{where}: expected {name} to be {field.expected}, found {reprlib.repr(found[name])}")


def read_json(path: str) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: it is not JSON, or is nested too deeply.
        OSError: it cannot be read.
    """
    with open(path, encoding="utf-8") as stream:
        try:
            return json.load(stream)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: expected JSON, found: {error}") from error
