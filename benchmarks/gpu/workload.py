"""How much work the benchmarks of a GPU do, where, and how it is timed."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Callable

import numpy as np
import torch

from benchmarks.memory import peak
from benchmarks.timing import Row, in_turns

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Workload:
    """Batches of noise on a device.

    Args:
        device: cuda or cpu.
        sizes: names out of `SIZES`.
        clips: per batch.
        seconds: of each clip.
        rounds, warm_up: of each way of a comparison.
        matrix: side of the matrices whose product gives the device's own rate.
    """

    device: str
    sizes: tuple[str, ...]
    clips: int
    seconds: int
    rounds: int
    warm_up: int
    matrix: int

    def waveform(self, rate: int) -> torch.Tensor:
        """(B, T) at `rate` Hz."""
        generator = torch.Generator().manual_seed(1)
        return (0.1 * torch.randn(self.clips, self.seconds * rate, generator=generator)).to(self.device)

    def clip_keys(self, epoch: int) -> np.ndarray:
        """(B, 3) integers (seed, epoch, clip)."""
        return np.array([[1, epoch, clip] for clip in range(self.clips)])

    def clock(self) -> float:
        """The time, s, once the device has done what it was given."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def time(self, ways: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
        """Name -> seconds of each round, see `in_turns`."""
        return in_turns(ways, self.rounds, self.warm_up, self.clock)

    def allocated(self) -> int:
        """Bytes that are in use; on a CPU, the peak of the process."""
        return torch.cuda.memory_allocated() if self.device == "cuda" else peak()

    def measure_memory(self, make: Callable[[], Callable[[], object]]) -> tuple[Callable[[], object], int]:
        """Make a step and take it twice -> the step, and the bytes that it and its model need at most.

        On a CPU the bytes are by how much the peak of the process grew, which earlier work may hide.
        """
        before = self.allocated()
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        step = make()
        for _ in range(2):
            step()
        self.clock()
        after = torch.cuda.max_memory_allocated() if self.device == "cuda" else peak()
        return step, after - before

    def matrix_rate(self, precision: str) -> float:
        """Rate of a large matrix product, floating-point operations per second."""
        size = (self.matrix, self.matrix)
        first, second = (torch.randn(size, device=self.device, dtype=DTYPES[precision]) for _ in range(2))
        products = 10  # per round, so that starting them does not count

        def multiply() -> None:
            for _ in range(products):
                first @ second

        seconds = min(in_turns({"product": multiply}, self.rounds, self.warm_up, self.clock)["product"])
        return 2 * products * self.matrix**3 / seconds


def memory_row(work: str, peer: str, ours: int, theirs: int) -> Row:
    """Args: ours, theirs: bytes."""
    return Row(work, peer, f"{ours / 2**20:.0f} MiB", f"{theirs / 2**20:.0f} MiB", ours / max(1, theirs))


# The recipes' batch on a GPU; and what a CPU does in seconds, which shows that the benchmarks run.
WORKLOADS = {
    "cuda": Workload("cuda", ("tiny", "small", "base"), clips=64, seconds=10, rounds=8, warm_up=3, matrix=8192),
    "cpu": Workload("cpu", ("mini",), clips=2, seconds=1, rounds=1, warm_up=1, matrix=128),
}
