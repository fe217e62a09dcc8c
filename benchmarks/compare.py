"""Measure ours and a peer side by side: alternating, after warm-up, medians, and the machine they ran on.

A benchmark is a file of this folder with a function `measure() -> List[Row]`; `python -m benchmarks` runs them all.
"""

import os
import platform
import statistics
import time
from dataclasses import dataclass
from typing import Callable, Dict, List

import torch

WARM_UP = 1
RUNS = 5


@dataclass
class Row:
    """A line of RESULTS.md.

    ratio is ours over the peer's, of what `unit` says, and it is met where it is at most `target` (or at least, where
    more is better).
    """

    work: str
    peer: str
    ours: float
    theirs: float
    unit: str
    target: float
    more_is_better: bool = False
    note: str = ""

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    @property
    def met(self) -> bool:
        return self.ratio >= self.target if self.more_is_better else self.ratio <= self.target


def alternate(functions: Dict[str, Callable[[], object]], runs: int = RUNS) -> Dict[str, float]:
    """The median time of each function, s. They take turns, so that whatever slows the machine slows all of them."""
    seconds: Dict[str, List[float]] = {name: [] for name in functions}
    for run in range(WARM_UP + runs):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if run >= WARM_UP:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def matmul_flops(dtype: torch.dtype = torch.float32, size: int = 1536) -> float:
    """Floating-point operations a second of the machine's matrix product, the best of several."""
    left, right = torch.randn(2, size, size).to(dtype)
    best = min(alternate({"product": lambda: left @ right}, runs=1)["product"] for _ in range(5))
    return 2 * size**3 / best


def machine() -> str:
    """What the figures were measured on, in a line."""
    cpu = platform.processor() or platform.machine()
    if os.path.isfile("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            cpu = next((line.split(":")[1].strip() for line in stream if line.startswith("model name")), cpu)
    return f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}"
