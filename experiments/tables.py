"""Tables and plots of what `experiments.run` has recorded: `python -m experiments.tables experiments/esc10.yaml`.

It writes results/NAME/tables.md, where NAME is that of the list: the accuracy of every experiment, per fold or seed,
with mean and standard deviation. The list names the plots: one curve per pattern of step names, with a number in the
place of `{x}`.
"""

import argparse
import csv
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import yaml
from matplotlib.figure import Figure

RESULTS = Path(__file__).resolve().parents[1] / "results"
REPEATED = re.compile(r"(.+)/((?:fold|seed)\d+)")  # experiment, and the fold or seed
Score = tuple[float, Optional[float]]  # accuracy and its deviation


def read_scores(path: Path) -> dict[str, Score]:
    """The scores in a runs.csv, by step; steps without one are left out."""
    with open(path, encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["accuracy"]]
    return {
        row["step"]: (float(row["accuracy"]), float(row["deviation"]) if row["deviation"] else None) for row in rows
    }


def table(scores: dict[str, Score]) -> str:
    """Markdown with a line per experiment, in the order of the rows."""
    experiments: dict[str, dict[str, float]] = {}
    lines = ["| experiment | each | mean | standard deviation |", "|---|---|---|---|"]
    for step, (accuracy, _) in scores.items():
        match = REPEATED.fullmatch(step)
        if match:
            experiments.setdefault(match[1], {})[match[2]] = accuracy
        else:
            experiments[step] = {}
    for name, repeats in experiments.items():
        mean, deviation = scores[name] if not repeats else (statistics.mean(repeats.values()), None)
        if len(repeats) > 1:
            deviation = statistics.stdev(repeats.values())
        each = ", ".join(f"{repeat} {repeats[repeat]:.4f}" for repeat in sorted(repeats))
        lines.append(f"| {name} | {each} | {mean:.4f} | {'' if deviation is None else f'{deviation:.3f}'} |")
    return "\n".join(lines) + "\n"


def curve(scores: dict[str, Score], pattern: str) -> list[tuple[float, float, float]]:
    """(x, accuracy, deviation or 0) of the steps that match a pattern, ordered by x."""
    before, after = map(re.escape, pattern.split("{x}"))
    matches = [re.fullmatch(f"{before}([0-9.]+){after}", step) for step in scores]
    return sorted((float(m[1]), scores[m[0]][0], scores[m[0]][1] or 0.0) for m in matches if m)


def draw(scores: dict[str, Score], plot: dict[str, Any], path: Path) -> None:
    """Draw a plot of the list into a PNG, if any of its steps has a score."""
    curves = {label: curve(scores, pattern) for label, pattern in plot["curves"].items()}
    if not any(curves.values()):
        return
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.subplots()
    for label, points in curves.items():
        if points:
            x, accuracy, deviation = zip(*points)
            axis.errorbar(x, accuracy, yerr=deviation if any(deviation) else None, marker=".", capsize=3, label=label)
    axis.set(xlabel=plot["x"], ylabel="accuracy")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=100)


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", type=Path, help="the list that experiments.run has run")
    parser.add_argument("--out", type=Path, help="where the results are (default: results/NAME of the list)")
    args = parser.parse_args(argv)
    out = args.out or RESULTS / args.experiments.stem
    scores = read_scores(out / "runs.csv")
    (out / "tables.md").write_text(table(scores), encoding="utf-8")
    for name, plot in yaml.safe_load(args.experiments.read_text(encoding="utf-8")).get("plots", {}).items():
        draw(scores, plot, out / f"{name}.png")


if __name__ == "__main__":
    main()
