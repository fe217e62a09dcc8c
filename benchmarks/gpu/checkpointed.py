"""A pretraining step with `task.checkpoint_activations=true` against the same step without it: time and memory."""

from collections.abc import Iterator

from benchmarks.gpu.steps import pretraining_step
from benchmarks.gpu.workload import Workload, memory_row
from benchmarks.timing import Row, rate_row


def rows(work: Workload) -> Iterator[Row]:
    for size in work.sizes:
        (theirs, plain), (ours, held) = (
            work.measure_memory(lambda: pretraining_step(work, size, False, "bf16", checkpointed=checkpointed))  # noqa: B023
            for checkpointed in (False, True)
        )
        what = f"checkpointed pretraining step, maskspec_{size}, bf16, {work.clips} clips of {work.seconds} s"
        seconds = work.time({"ours": ours, "theirs": theirs})
        yield rate_row(what, "not checkpointed", "clips", work.clips, **seconds, target="")
        yield memory_row(f"memory of a {what}", "not checkpointed", held, plain)
