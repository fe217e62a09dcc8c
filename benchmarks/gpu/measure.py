"""Run the benchmarks of a GPU one after the other, within a time."""

import gc
import importlib
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.gpu import workload
from benchmarks.timing import Row, table

# Each module has `rows(work)`, which yields them; what matters most comes first, because time may end.
NAMES = ["pretraining", "finetuning", "embedding", "loaders", "checkpointed", "compiled"]


@dataclass
class Measured:
    """Rows, and why others are missing.

    failed: name of a benchmark -> its error. left_out: those that time was too short for, in whole or in part.
    """

    rows: list[Row] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The rows as a Markdown table, and what is missing."""
        lines = [table(self.rows)]
        lines += [f"\n**{name} failed**: {error}" for name, error in self.failed.items()]
        if self.left_out:
            lines.append(f"\nLeft out, in whole or in part, because the time was over: {', '.join(self.left_out)}.")
        return "\n".join(lines)


def measure(names: Sequence[str], device: str, max_sec: float = math.inf) -> Measured:
    """Run benchmarks.

    Args:
        names: out of NAMES.
        device: cuda or cpu.
        max_sec: after which no further row is begun, s.
    """
    end, measured = time.monotonic() + max_sec, Measured()
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            rows = importlib.import_module(f"benchmarks.gpu.{name}").rows(workload.WORKLOADS[device])
            while time.monotonic() < end:
                row = next(rows, None)
                if row is None:
                    break
                measured.rows.append(row)
            else:
                measured.left_out.append(name)
            del rows  # and the models that it holds
        except Exception as error:  # the others are to run all the same
            measured.failed[name] = f"{type(error).__name__}: {error}"
        gc.collect()
    return measured
