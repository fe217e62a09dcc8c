"""How a pretraining step's time and memory grow with clip length, batch size, mask ratio and model size: `python -m
benchmarks scaling` draws benchmarks/scaling.png.

The step is that of `steps.py`; one setting at a time differs from the tiny model on 2 clips of 10 s, mask 0.75. Next to
the time is what the arithmetic alone would take at the rate of that point; memory is that of a fresh process each. The
rows compare the ends of each curve with that point, next to the growth of the arithmetic. They have no target.
"""

import gc
import logging
import statistics
from pathlib import Path

from benchmarks import memory
from benchmarks.steps import MASK_RATIO, SECONDS, make_step, step_flops
from benchmarks.timing import Row, in_turns

OUT = Path(__file__).with_suffix(".png")
CLIPS, ROUNDS = 2, 2  # with 8 clips the curves alone take ten minutes
Setting = tuple[str, int, int, float]  # size, clips, seconds per clip, mask ratio
POINT: Setting = ("tiny", CLIPS, SECONDS, MASK_RATIO)
CURVES: dict[str, tuple[int, list]] = {  # what is varied -> its place in a setting, its values
    "clip length (s)": (2, [1, 5, 10, 20, 30]),
    "batch size (clips)": (1, [1, 2, 4, 8]),
    "mask ratio": (3, [0.05, 0.25, 0.5, 0.75, 0.95]),
    "model size": (0, ["tiny", "small", "base"]),
}


def settings(curve: str) -> list[Setting]:
    place, values = CURVES[curve]
    return [(*POINT[:place], value, *POINT[place + 1 :]) for value in values]


def measure_time(setting: Setting) -> float:
    """Seconds of a step, the mean of two rounds; the model is freed before it returns."""
    seconds = statistics.mean(in_turns({"ours": make_step("ours", *setting)}, ROUNDS)["ours"])
    gc.collect()
    return seconds


def draw(seconds: dict[Setting, float], held: dict[Setting, float]) -> None:
    import matplotlib

    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # fairseq's import leaves the root at DEBUG
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, 2, figsize=(11, 8), layout="constrained")
    rate = step_flops(*POINT) / seconds[POINT]
    for panel, (curve, (_, values)) in zip(panels.flat, CURVES.items()):
        points = settings(curve)
        panel.plot(values, [seconds[point] for point in points], "o-", color="C0", label="time")
        panel.plot(values, [step_flops(*point) / rate for point in points], "--", color="C0", label="arithmetic")
        panel.set(xlabel=curve, ylabel="time per step (s)", ylim=(0, None))
        right = panel.twinx()
        right.plot(values, [held[point] for point in points], "s:", color="C1", label="memory")
        right.set(ylabel="peak memory (GiB)", ylim=(0, None))
        panel.legend(handles=[*panel.lines, *right.lines], loc="lower right")
    figure.suptitle(f"Pretraining step; unless varied: tiny, {CLIPS} clips of {SECONDS} s, mask {MASK_RATIO}")
    figure.savefig(OUT, dpi=80)
    pyplot.close(figure)


def row(curve: str, setting: Setting, seconds: dict[Setting, float], held: dict[Setting, float]) -> Row:
    place = CURVES[curve][0]
    arithmetic = step_flops(*setting) / step_flops(*POINT)
    return Row(
        f"pretraining step, {curve} {setting[place]}",
        f"{curve} {POINT[place]}",
        f"{seconds[setting]:.2f} s",
        f"{seconds[POINT]:.2f} s",
        seconds[setting] / seconds[POINT],
        note=f"arithmetic {arithmetic:.2f}, memory {held[setting] / held[POINT]:.2f}",
    )


def rows() -> list[Row]:
    every = dict.fromkeys(setting for curve in CURVES for setting in settings(curve))
    seconds = {setting: measure_time(setting) for setting in every}
    held = {setting: memory.measure("ours", *setting) / 2**30 for setting in every}
    draw(seconds, held)
    ends = [(curve, setting) for curve in CURVES for setting in (settings(curve)[0], settings(curve)[-1])]
    return [row(curve, setting, seconds, held) for curve, setting in ends if setting != POINT]
