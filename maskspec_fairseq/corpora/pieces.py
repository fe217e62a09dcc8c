"""Cut long files into pieces, each of which is a clip with a line in the manifest. Notation: `audio/pieces.py`."""

import argparse
from typing import NamedTuple, Optional

from maskspec_fairseq.argument_types import seconds, seconds_or_zero
from maskspec_fairseq.audio.pieces import Piece

SEGMENT_SEC = 10.0  # without --segment-sec
LONG_SEC = 60.0  # without --segment-sec only longer files are cut


class Cutting(NamedTuple):
    """How long files are cut.

    Attributes:
        sec: length of a piece, s.
        hop_sec: from the start of a piece to that of the next, s, at most `sec`.
        above_sec: files up to this length stay whole, s.
    """

    sec: float
    hop_sec: float
    above_sec: float


class Part(NamedTuple):
    """A part of the only file of a corpus: its end, which is held out, or what comes before it.

    Attributes:
        held_out: which of the two.
        fraction: of the file, that is held out.
    """

    held_out: bool
    fraction: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--segment-sec",
        type=seconds_or_zero,
        metavar="SEC",
        help="cut files that are longer into pieces of SEC seconds; 0 leaves all files whole "
        f"(default: files above {LONG_SEC:g} s, into pieces of {SEGMENT_SEC:g} s)",
    )
    parser.add_argument(
        "--segment-hop",
        type=seconds,
        metavar="SEC",
        help="from the start of a piece to that of the next (default: --segment-sec)",
    )


def cutting_of(args: argparse.Namespace) -> Optional[Cutting]:
    """The cutting that the arguments ask for; None if files stay whole.

    Raises:
        ValueError: pieces would leave out what is between them.
    """
    sec = SEGMENT_SEC if args.segment_sec is None else args.segment_sec
    hop_sec = sec if args.segment_hop is None else args.segment_hop
    if hop_sec > sec:
        raise ValueError(f"expected --segment-hop of at most --segment-sec, {sec:g} s, found {hop_sec:g}; lower it")
    return Cutting(sec, hop_sec, LONG_SEC if args.segment_sec is None else sec) if sec else None


def cut(path: str, frames: int, rate: int, cutting: Cutting, part: Optional[Part] = None) -> list[tuple[str, int]]:
    """The pieces of a file; the last one is kept if it has at least half of the length.

    The end of the only file is held out in whole pieces at least, and one further piece before it belongs to neither.

    Args:
        path: as in the manifest.
        frames: of the file.
        rate: Hz.
        part: None for the whole file.

    Returns:
        Path and frames for each line of the manifest: those given for a file that stays whole; none for a part that is
        too short.
    """
    if part is None and frames <= cutting.above_sec * rate:
        return [(path, frames)]
    size, hop = max(1, round(cutting.sec * rate)), max(1, round(cutting.hop_sec * rate))
    start, end = 0, frames
    if part is not None:
        held_out = max(0, frames - max(size, round(part.fraction * frames)))
        start, end = (held_out, frames) if part.held_out else (0, held_out - size)
    pieces = []
    for first in range(start, end, hop):
        length = min(size, end - first)
        if 2 * length >= size:
            pieces.append((str(Piece(path, first, length)), length))
        if first + size >= end:
            break
    return pieces
