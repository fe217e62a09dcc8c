"""Name the fields in which two configs differ."""

from collections.abc import Iterable, Mapping
from typing import Any


def differing_fields(
    expected: Mapping[str, Any], found: Mapping[str, Any], names: Iterable[str], section: str = ""
) -> list[str]:
    """The fields out of `names` in which two configs differ, with both values, for a message.

    Args:
        section: put before each name, "model." for example.
    """
    differing = []
    for name in sorted(names):
        left, right = expected.get(name), found.get(name)
        if left == right:
            continue
        if isinstance(left, list) and isinstance(right, list) and isinstance((left or right)[0], str):  # labels, many
            pairs = enumerate(zip(left, right))
            number = next((i for i, pair in pairs if pair[0] != pair[1]), min(len(left), len(right)))
            left, right = (
                f"{len(values)} of them (number {number}: {values[number] if number < len(values) else 'none'})"
                for values in (left, right)
            )
        differing.append(f"{section}{name}: expected {left}, found {right}")
    return differing
