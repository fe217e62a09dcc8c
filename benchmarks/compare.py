"""Measure ways of doing the same work side by side: in turns, after a round of warm-up, by the median round."""

import statistics
import time
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional

import torch


@dataclass(frozen=True)
class Row:
    """A line of the results: what ours costs, what a peer costs, and their ratio beside its target.

    ours, theirs: a figure with its unit, "412 ms".
    ratio: as `target` means it: of times or memory ours / theirs, of rates likewise.
    target: "at most 0.8", "at least 3", or "" for a figure that has none.
    note: what a reader must know, the reason of a missed target above all.
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
        """None without a target.

        Raises:
            ValueError: the target is written in another way.
        """
        if not self.target:
            return None
        sense, bound = self.target.rsplit(" ", 1)
        if sense not in ("at most", "at least"):
            raise ValueError(f"expected a target 'at most X' or 'at least X', found {self.target!r}")
        return self.ratio <= float(bound) if sense == "at most" else self.ratio >= float(bound)


def in_turns(
    ways: Dict[str, Callable[[], object]],
    rounds: int = 5,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
    prepare: Callable[[], object] = lambda: None,
) -> Dict[str, List[float]]:
    """Seconds of every round of every way; the ways take turns, every other round the last one first, so that what else
    the machine does, and what one leaves behind for the next, falls on all.

    prepare: is done before every turn, and not counted.
    """
    seconds: Dict[str, List[float]] = {name: [] for name in ways}
    for number in range(warm_up + rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            prepare()
            start = clock()
            ways[name]()
            if number >= warm_up:
                seconds[name].append(clock() - start)
    return seconds


def median_ratio(ours: List[float], theirs: List[float]) -> float:
    """The median over the rounds of ours / theirs, each of one turn: slow drift of the machine cancels."""
    return statistics.median(a / b for a, b in zip(ours, theirs))


def time_text(seconds: float) -> str:
    """Seconds with a unit that suits them."""
    if seconds >= 0.1:
        return f"{seconds:.2f} s"
    return f"{1e3 * seconds:.1f} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.0f} us"


def time_row(work: str, peer: str, ours: List[float], theirs: List[float], target: str = "", note: str = "") -> Row:
    """Median times, in seconds, and the ratio of ours to theirs."""
    texts = [time_text(statistics.median(seconds)) for seconds in (ours, theirs)]
    return Row(work, peer, *texts, median_ratio(ours, theirs), target, note)


def rate_row(
    work: str, peer: str, things: str, count: int, ours: List[float], theirs: List[float], target: str, note: str = ""
) -> Row:
    """Median rates of `count` things in each of the times, in seconds, and the ratio of our rate to theirs."""
    rates = [count / statistics.median(seconds) for seconds in (ours, theirs)]
    texts = [f"{rate:.{0 if rate >= 10 else 2}f} {things}/s" for rate in rates]
    return Row(work, peer, *texts, median_ratio(theirs, ours), target, note)


def matmul_gflops(size: int = 1024, rounds: int = 20) -> float:
    """Rate of a float32 matrix product on this machine, 10^9 floating-point operations a second, by torch's threads."""
    first, second = torch.randn(size, size), torch.randn(size, size)
    seconds = in_turns({"product": lambda: first @ second}, rounds, warm_up=3)["product"]
    return 2 * size**3 / statistics.median(seconds) / 1e9


def table(rows: List[Row]) -> str:
    """Markdown, one line a row."""
    lines = ["| work | against | ours | theirs | ratio | target | met | note |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        met = {None: "", True: "yes", False: "**no**"}[row.met]
        cells = [row.work, row.peer, row.ours, row.theirs, f"{row.ratio:.3f}", row.target, met, row.note]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
