"""Time and memory of a pretraining step (`steps.py`) against the same MAE made of timm's blocks: `python -m benchmarks
pretraining_step`.

8 clips of 10 s, mask 0.75, float32. The front end, which is ours on both sides, is in the time of both. Memory is that
of a fresh process for each way (`memory.py`), which holds the weights, AdamW's moments and everything that a step
needs. The last rows are the time of the recipes `maskspec_*_fast` against that of the paper's and, where there is a C++
compiler, of a step whose blocks are compiled.
"""

import shutil
import statistics
import time

from benchmarks import memory
from benchmarks.machine import bf16_units
from benchmarks.steps import CLIPS, SECONDS, make_step, step_flops
from benchmarks.timing import Row, in_turns, matmul_gflops, time_row, time_text

SIZES, ROUNDS = ("tiny", "base"), 2
FAST_TARGETS = {"tiny": "at most 0.5", "small": "at most 0.6", "base": "at most 0.6"}


def rows_of_size(size: str) -> list[Row]:
    units = bf16_units() if size == "base" else []
    ways = ["ours", *(["bf16"] if units else []), "explicit", "fused"]
    steps = {way: make_step(way, size) for way in ways}
    seconds = in_turns(steps, ROUNDS)
    del steps  # the memory of the models goes to the processes that follow
    work = f"pretraining step, {size}, {CLIPS} clips of {SECONDS} s"
    held = {way: memory.measure(way, size) for way in ("ours", "checkpointed", "explicit")}
    rows = [
        time_row(work, "timm, explicit attention", seconds["ours"], seconds["explicit"], "at most 0.8"),
        time_row(work, "timm, fused attention", seconds["ours"], seconds["fused"], "at most 0.95"),
        Row(
            f"memory of a {work}",
            "timm, explicit attention",
            f"{held['ours'] / 2**20:.0f} MiB",
            f"{held['explicit'] / 2**20:.0f} MiB",
            held["ours"] / held["explicit"],
            "at most 0.8",
        ),
        Row(
            f"memory of a {work}, task.checkpoint_activations=true",
            "ours without it",
            f"{held['checkpointed'] / 2**20:.0f} MiB",
            f"{held['ours'] / 2**20:.0f} MiB",
            held["checkpointed"] / held["ours"],
        ),
    ]
    if size == "base":
        ours, machine = step_flops(size) / statistics.median(seconds["ours"]) / 1e9, matmul_gflops()
        rates = f"{ours:.0f} Gflop/s", f"{machine:.0f} Gflop/s"
        rows.append(
            Row(f"arithmetic of a {work}", "a matrix product", rates[0], rates[1], ours / machine, "at least 0.75")
        )
    if units:
        times = seconds["bf16"], seconds["ours"]
        note = f"the processor has {' and '.join(units)}"
        rows.append(time_row(f"bf16 autocast, {work}", "ours in float32", *times, "at most 0.6", note))
    return rows


def fast_row(size: str) -> Row:
    seconds = in_turns({way: make_step(way, size) for way in ("fast", "ours")}, ROUNDS)
    work = f"pretraining step, maskspec_{size}_fast, {CLIPS} clips of {SECONDS} s"
    return time_row(work, f"maskspec_{size}", seconds["fast"], seconds["ours"], FAST_TARGETS[size])


def compiled_row(size: str) -> Row:
    compiled = make_step("compiled", size)
    start = time.perf_counter()
    compiled()
    note = f"the first step, which compiles, took {time_text(time.perf_counter() - start)}"
    seconds = in_turns({"compiled": compiled, "ours": make_step("ours", size)}, ROUNDS)
    work = f"pretraining step, {size}, {CLIPS} clips of {SECONDS} s, task.compile=true"
    return time_row(work, "not compiled", seconds["compiled"], seconds["ours"], note=note)


def rows() -> list[Row]:
    compiled = [compiled_row("tiny")] if shutil.which("g++") else []
    return [row for size in SIZES for row in rows_of_size(size)] + [fast_row(size) for size in FAST_TARGETS] + compiled
