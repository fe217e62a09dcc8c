"""A pretraining step with `task.compile=true` against the same step without it."""

from collections.abc import Iterator

from benchmarks.gpu.steps import pretraining_step
from benchmarks.gpu.workload import Workload
from benchmarks.timing import Row, rate_row, time_text


def rows(work: Workload) -> Iterator[Row]:
    for precision in ("bf16", "fp16"):
        for size in work.sizes:
            for recipe in (f"maskspec_{size}", f"maskspec_{size}_fast"):
                fast = recipe.endswith("_fast")
                ours = pretraining_step(work, size, fast, precision, compiled=True)
                start = work.clock()
                ours()
                first = work.clock() - start
                ways = {"ours": ours, "theirs": pretraining_step(work, size, fast, precision)}
                yield rate_row(
                    f"compiled pretraining step, {recipe}, {precision}, {work.clips} clips of {work.seconds} s",
                    "not compiled",
                    "clips",
                    work.clips,
                    **work.time(ways),
                    target="",
                    note=f"the first step, which compiles, took {time_text(first)}",
                )
