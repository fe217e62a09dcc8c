"""Find frames of one file that two sides have, such as train and valid."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Span(NamedTuple):
    """Frames of a file: the first, the one after the last, the number of the side, and that of the clip on it."""

    first: float
    end: float
    side: int
    clip: int


def shared_frames(spans: Iterable[Span]) -> Iterator[tuple[Span, Span]]:
    """Each span of a file with those before it that reach into it: of each other side the one that ends last."""
    furthest: dict[int, Span] = {}  # side -> its span so far that ends last
    for span in sorted(spans, key=lambda span: (span.first, span.end)):
        for side, other in furthest.items():
            if side != span.side and other.end > span.first:
                yield span, other
        furthest[span.side] = max(
            furthest.get(span.side, span), span, key=lambda span: (span.end, span.first, span.clip)
        )
