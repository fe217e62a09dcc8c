"""Plot the linear probe's accuracy over what an encoder has heard, from files that `maskspec-probe --sweep` wrote.

    python -m experiments.growth --x "crops heard" --random results/readouts/esc10.json --out growth.png \
        50000=results/pretrained/open_195_esc10.json 100000=results/pretrained/open_390_esc10.json

The last layer, by two poolings: mean and deviation over the folds, next to an encoder of random weights.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from matplotlib.axes import Axes
from matplotlib.figure import Figure

POOLS = ["mean", "frequency+std"]


def score(result: dict[str, Any], features: str, pool: str) -> tuple[float, float]:
    """Mean and deviation over the folds of the last layer's accuracy."""
    own = [row for row in result["readouts"] if row["features"] == features and row["pool"] == pool]
    folds = max(own, key=lambda row: row["layer"])["scores"]["linear"].values()
    return statistics.mean(folds), statistics.stdev(folds)


def draw(axes: Axes, points: dict[float, dict[str, Any]], random: dict[str, Any]) -> None:
    for number, pool in enumerate(POOLS):
        means, deviations = zip(*(score(result, "embeddings", pool) for result in points.values()))
        xs = [x * (1 + 0.02 * number) for x in points]  # so that bars do not cover each other
        axes.errorbar(xs, means, deviations, fmt="-o", color=f"C{number}", label=pool, capsize=2)
        mean, deviation = score(random, "random encoder", pool)
        axes.axhline(mean, linestyle="--", color=f"C{number}", label=f"{pool}, random weights")
        axes.axhspan(mean - deviation, mean + deviation, color=f"C{number}", alpha=0.08)


def a_point(text: str) -> tuple[float, Path]:
    value, _, path = text.partition("=")
    return float(value), Path(path)


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", nargs="+", type=a_point, metavar="VALUE=FILE", help="what was heard, and the probe")
    parser.add_argument("--x", required=True, metavar="TEXT", help="what VALUE is")
    parser.add_argument("--random", required=True, type=Path, metavar="FILE", help="a probe with --baselines")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="PNG")
    args = parser.parse_args(argv)
    points = {value: json.loads(path.read_text(encoding="utf-8")) for value, path in args.points}
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    draw(axes, points, json.loads(args.random.read_text(encoding="utf-8")))
    axes.set_xscale("log")
    axes.set_xticks(list(points), [f"{value:,g}" for value in points])
    axes.minorticks_off()
    axes.set_xlabel(args.x)
    axes.set_ylabel("accuracy of the linear probe")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(args.out, dpi=110)
    return 0


if __name__ == "__main__":
    sys.exit(main())
