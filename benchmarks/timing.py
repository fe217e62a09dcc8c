"""Time ways of doing the same work, in turns and after a round of warm-up, and compare the medians."""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Callable, Optional

import torch


@dataclass(frozen=True)
class Row:
    """A row of the results: what our implementation costs, what a peer costs, and their ratio.

    Args:
        work: what is measured.
        peer: what it is compared with.
        ours, theirs: a figure with its unit, "412 ms".
        ratio: ours / theirs, of times, memory or rates.
        target: of the ratio, "at most 0.8" or "at least 3"; "" if there is none.
        note: what a reader must know, above all why a target was missed.
    """

    work: str
    peer: str
    ours: str
    theirs: str
    ratio: float
    target: str = ""
    note: str = ""

    @property
    def met(self) -> Optional[bool]:
        """Whether the target was met; None if there is none.

        Raises:
            ValueError: the target has another form.
        """
        if not self.target:
            return None
        sense, bound = self.target.rsplit(" ", 1)
        if sense not in ("at most", "at least"):
            raise ValueError(f"expected a target 'at most X' or 'at least X', found {self.target!r}")
        return self.ratio <= float(bound) if sense == "at most" else self.ratio >= float(bound)


def in_turns(
    ways: Mapping[str, Callable[[], object]],
    rounds: int = 5,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
    prepare: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Time ways of doing the same work.

    The ways take turns, in reverse order in every other round, so that other work of the machine, and what one way
    leaves behind for the next, affects all of them alike.

    Args:
        ways: name -> function to time.
        rounds: number of timed rounds.
        warm_up: number of rounds before them that are not timed.
        clock: returns the time, s.
        prepare: called before every turn, and not timed.

    Returns:
        Name -> seconds of each round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(warm_up + rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            prepare()
            start = clock()
            ways[name]()
            if number >= warm_up:
                seconds[name].append(clock() - start)
    return seconds


def median_ratio(ours: list[float], theirs: list[float]) -> float:
    """The median over the rounds of ours / theirs; slow drift of the machine cancels."""
    return statistics.median(a / b for a, b in zip(ours, theirs))


def time_text(seconds: float) -> str:
    """Seconds as text, in s, ms or us."""
    if seconds >= 0.1:
        return f"{seconds:.2f} s"
    return f"{1e3 * seconds:.1f} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.0f} us"


def time_row(work: str, peer: str, ours: list[float], theirs: list[float], target: str = "", note: str = "") -> Row:
    """A row of median times; `ours` and `theirs` are the seconds of each round."""
    our_text, their_text = (time_text(statistics.median(seconds)) for seconds in (ours, theirs))
    return Row(work, peer, our_text, their_text, median_ratio(ours, theirs), target, note)


def rate_row(
    work: str, peer: str, things: str, count: int, ours: list[float], theirs: list[float], target: str, note: str = ""
) -> Row:
    """A row of median rates; each round handled `count` things in the seconds of `ours` and `theirs`."""
    rates = [count / statistics.median(seconds) for seconds in (ours, theirs)]
    our_text, their_text = (f"{rate:.{0 if rate >= 10 else 2}f} {things}/s" for rate in rates)
    return Row(work, peer, our_text, their_text, median_ratio(theirs, ours), target, note)


def matmul_gflops(size: int = 1024, rounds: int = 20) -> float:
    """Rate of a float32 matrix product with torch's threads, 10^9 floating-point operations per second."""
    first, second = torch.randn(size, size), torch.randn(size, size)
    seconds = in_turns({"product": lambda: first @ second}, rounds, warm_up=3)["product"]
    return 2 * size**3 / statistics.median(seconds) / 1e9


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| work | against | ours | theirs | ratio | target | met | note |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        met = {None: "", True: "yes", False: "**no**"}[row.met]
        cells = [row.work, row.peer, row.ours, row.theirs, f"{row.ratio:.3f}", row.target, met, row.note]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
