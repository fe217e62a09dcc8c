"""How threads that wait for each other cost time on a busy machine: `python -m benchmarks waiting`.

A process with torch's default threads embeds clips by the tiny encoder, alone and next to a process that computes
without end. The programs set OMP_WAIT_POLICY=passive before torch is loaded: a thread that waits for the others sleeps
instead of spinning. "ours" is with it, "theirs" without it; next to another process "theirs" is the fair share instead:
the time alone, times (cores + 1) / cores. Each round is a process of its own that times itself after a warm-up.

`python -m benchmarks.waiting` prints the seconds of all ways.
"""

import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks.timing import Row, time_row

ROOT = Path(__file__).resolve().parents[1]
CLIPS, CLIP_SEC, ROUNDS = 20, 2, 3
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
WAYS: dict[str, dict[str, str]] = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "spin 1000": {"GOMP_SPINCOUNT": "1000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


def embed() -> float:
    """Seconds of embedding the clips in this process."""
    import torch

    from maskspec_fairseq.inference.audio_model import AudioModel
    from maskspec_fairseq.modules.sizes import TINY

    model = AudioModel(asdict(TINY), CLIP_SEC).eval()
    waveform = 0.1 * torch.randn(CLIPS, CLIP_SEC * model.sample_rate, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        model.embed(waveform)
        start = time.perf_counter()
        model.embed(waveform)
        return time.perf_counter() - start


def measure(way: str) -> float:
    """`embed` in a fresh process."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES} | WAYS[way]
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.waiting", "embed"]
    return float(subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout)


def compute_without_end() -> None:
    while True:
        pass


@contextmanager
def another_process() -> Iterator[None]:
    """A process that computes as long as this context lasts."""
    process = multiprocessing.get_context("fork").Process(target=compute_without_end, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def measure_all(ways: list[str], rounds: int = ROUNDS) -> dict[tuple[str, bool], list[float]]:
    """(way, whether next to another process) -> seconds of each round; the ways take turns."""
    seconds: dict[tuple[str, bool], list[float]] = {(way, busy): [] for way in ways for busy in (False, True)}
    for _ in range(rounds):
        for way in ways:
            seconds[way, False].append(measure(way))
            with another_process():
                seconds[way, True].append(measure(way))
    return seconds


def rows() -> list[Row]:
    seconds = measure_all(["default", "passive"])
    cores = os.cpu_count() or 1
    fair = [(cores + 1) / cores * alone for alone in seconds["default", False]]
    work = f"{CLIPS} embeddings by tiny, {cores} threads that wait passively"
    spinning = statistics.median(seconds["default", True]) / statistics.median(fair)
    return [
        time_row(f"{work}, alone", "spinning", seconds["passive", False], seconds["default", False], "at most 1.05"),
        time_row(
            f"{work}, next to a busy process",
            "the fair share",
            seconds["passive", True],
            fair,
            "at most 1.5",
            f"{spinning:.1f} times the fair share with threads that spin",
        ),
    ]


def main() -> None:
    if sys.argv[1:] == ["embed"]:
        print(embed())
        return
    for (way, busy), seconds in measure_all(list(WAYS)).items():
        each = ", ".join(f"{value:.2f}" for value in seconds)
        where = "next to a busy process" if busy else "alone"
        print(f"{way:<10} {where:<22} {statistics.median(seconds):6.2f} s ({each}); load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
