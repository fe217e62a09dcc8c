"""A pretraining step of each size, by the paper's recipe and by `_fast`, against the same model made of timm's blocks:
clips per second, memory, and the share of the device's own rate of matrix products.
"""

import statistics
from collections.abc import Iterator

from benchmarks.gpu.steps import pretraining_step, timm_pretraining_step
from benchmarks.gpu.workload import Workload, memory_row
from benchmarks.steps import step_flops
from benchmarks.timing import Row, rate_row

TIMM = "timm, fused attention, autocast"


def rows(work: Workload) -> Iterator[Row]:
    for precision in ("bf16", "fp16"):
        rate = work.matrix_rate(precision)
        for size in work.sizes:
            yield from rows_of_size(work, size, precision, rate)


def rows_of_size(work: Workload, size: str, precision: str, rate: float) -> Iterator[Row]:
    """Args: rate: of a matrix product, floating-point operations per second."""
    paper, fast = f"maskspec_{size}", f"maskspec_{size}_fast"
    made = {
        paper: work.measure_memory(lambda: pretraining_step(work, size, False, precision)),
        fast: work.measure_memory(lambda: pretraining_step(work, size, True, precision)),
        TIMM: work.measure_memory(lambda: timm_pretraining_step(work, size, precision)),
    }
    seconds = work.time({name: step for name, (step, _) in made.items()})
    what = f"{precision}, {work.clips} clips of {work.seconds} s"
    for name, peer in ((paper, TIMM), (fast, TIMM), (fast, paper)):
        yield rate_row(
            f"pretraining step, {name}, {what}", peer, "clips", work.clips, seconds[name], seconds[peer], target=""
        )
    for name in (paper, fast):
        held = made[name][1], made[TIMM][1]
        yield memory_row(f"memory of a pretraining step, {name}, {what}", TIMM, *held)
    for name in (paper, fast):
        flops = step_flops(size, work.clips, work.seconds, fast=name == fast)
        ours = flops / statistics.median(seconds[name])
        yield Row(
            f"arithmetic of a pretraining step, {name}, {what}",
            f"a matrix product in {precision}",
            f"{ours / 1e12:.2f} Tflop/s",
            f"{rate / 1e12:.2f} Tflop/s",
            ours / rate,
        )
