"""Run a list of experiments and keep their figures in results/: `python -m experiments.run experiments/esc10.yaml`.

The list has steps, in the order of worth. A step is a command of this project, the file that it makes (its score, where
it has one), and the steps that it needs; `over` repeats it for some values, whose names stand in braces: lists, of
which every combination is taken, or one list of combinations. A step with a `score` (what maskspec-evaluate or
maskspec-probe has written) leaves a row in runs.csv; one with a `run_dir` leaves its log as logs/STEP.csv and its
resolved config as configs/STEP.yaml.

What has its row, or its file, is not done again; what was interrupted goes on, because the commands do. A step whose
row is there runs again only where a later one needs its file and that is gone.
"""

import argparse
import csv
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Set, Tuple

import yaml

from maskspec_fairseq.cli.plot_loss import log_entries

COLUMNS = ["step", "accuracy", "deviation", "wall_s", "peak_mib", "commit", "date", "command"]
RESULTS = Path(__file__).resolve().parents[1] / "results"
LOGGED = ["loss", "baseline_loss", "accuracy", "lr", "gnorm", "clips_per_sec", "wall"]


def read_steps(path: Path) -> Dict[str, Dict[str, Any]]:
    """Steps by their names, those with `over` once for each of its values.

    Raises:
        ValueError: two of one name, or a need that no earlier step has.
    """
    steps: Dict[str, Dict[str, Any]] = {}
    for step in yaml.safe_load(path.read_text(encoding="utf-8"))["steps"]:
        over = step.pop("over", {})
        if isinstance(over, dict):
            over = [dict(zip(over, values)) for values in itertools.product(*over.values())]
        for named in over:
            filled = {key: fill(value, named) for key, value in step.items()}
            filled.setdefault("makes", filled.get("score"))
            if filled["name"] in steps:
                raise ValueError(f"{path}: expected steps of different names, found two of {filled['name']}")
            missing = [need for need in filled.get("needs", []) if need not in steps]
            if missing:
                raise ValueError(f"{path}: expected {missing} before {filled['name']}, which needs them")
            steps[filled["name"]] = filled
    return steps


def fill(value: Any, named: Dict[str, Any]) -> Any:
    """Put values into the braces of a text, or of a list of texts."""
    if isinstance(value, list):
        return [fill(item, named) for item in value]
    for name, text in named.items():
        value = value.replace("{" + name + "}", str(text))
    return value


def read_log(run_dir: Path) -> List[Dict[str, str]]:
    """A row an epoch of a run's hydra_train.log: train_loss, valid_loss and so on; of an epoch run twice, the last.

    What is validated on is valid, whatever its subset is called.
    """
    epochs: Dict[int, Dict[str, str]] = {}
    for kind, entry in log_entries(str(run_dir / "hydra_train.log")):
        if kind != "train_inner":
            row = epochs.setdefault(int(entry["epoch"]), {"epoch": str(entry["epoch"])})
            to = "train" if kind == "train" else "valid"
            row.update({f"{to}_{name}": entry[f"{kind}_{name}"] for name in LOGGED if f"{kind}_{name}" in entry})
    return [epochs[epoch] for epoch in sorted(epochs)]


def read_score(path: Path) -> Tuple[str, str]:
    """Accuracy by maskspec-evaluate, and no deviation; by a linear maskspec-probe, mean and deviation of the folds."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if "features" not in found:
        return f"{found['scores']['accuracy']:.4f}", ""
    folds = list(found["features"]["embeddings"]["linear"].values())
    return f"{statistics.mean(folds):.4f}", f"{statistics.stdev(folds):.4f}"


def append_csv(path: Path, rows: List[Dict[str, Any]], columns: List[str]) -> None:
    """Add rows to a file, which begins with the columns' names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        if not stream.tell():
            writer.writeheader()
        writer.writerows(rows)


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


class Experiments:
    """The steps of a list, and the names of those whose row is there."""

    def __init__(self, path: Path, out: Path) -> None:
        self.out = out
        self.steps = read_steps(path)
        self.recorded: Set[str] = set()
        if (self.out / "runs.csv").exists():
            with open(self.out / "runs.csv", encoding="utf-8", newline="") as stream:
                self.recorded = {row["step"] for row in csv.DictReader(stream)}

    def do(self, name: str) -> None:
        """Make a step's file, and first those of the steps that it needs; record what came of it.

        Raises:
            RuntimeError: the command failed, or did not make its file.
        """
        step = self.steps[name]
        if os.path.exists(step["makes"]):
            seconds = peak_mib = 0.0
        else:
            for need in step.get("needs", []):
                self.do(need)
            print(f"{name}: {step['command']}", flush=True)
            start = time.time()
            process = subprocess.Popen(step["command"], shell=True)
            _, status, usage = os.wait4(process.pid, 0)  # of this step alone, with all that it started
            code, peak_mib = os.waitstatus_to_exitcode(status), usage.ru_maxrss / 1024
            seconds = time.time() - start
            if code or not os.path.exists(step["makes"]):
                raise RuntimeError(f"{name}: expected {step['makes']}, found none; its command ended with {code}")
        if ("score" in step or "run_dir" in step) and name not in self.recorded:
            self.record(step, seconds, peak_mib)

    def record(self, step: Dict[str, Any], seconds: float, peak_mib: float) -> None:
        name = step["name"].replace("/", "_")
        accuracy, deviation = read_score(Path(step["score"])) if "score" in step else ("", "")
        if "run_dir" in step:
            log = read_log(Path(step["run_dir"]))
            columns = ["epoch", *(f"{kind}_{key}" for kind in ("train", "valid") for key in LOGGED)]
            columns = [key for key in columns if any(key in row for row in log)]
            (self.out / "logs" / f"{name}.csv").unlink(missing_ok=True)
            append_csv(self.out / "logs" / f"{name}.csv", log, columns)
            seconds = float(log[-1]["train_wall"])  # of all its parts, where it was interrupted
            (self.out / "configs").mkdir(exist_ok=True)
            config = (Path(step["run_dir"]) / ".hydra" / "config.yaml").read_text(encoding="utf-8")
            config = config.replace(os.getcwd() + "/", "")  # no paths of this machine
            (self.out / "configs" / f"{name}.yaml").write_text(config, encoding="utf-8")
        values = {
            "step": step["name"],
            "accuracy": accuracy,
            "deviation": deviation,
            "wall_s": f"{seconds:.0f}",
            "peak_mib": f"{peak_mib:.0f}",
            "commit": git("rev-parse", "--short", "HEAD"),
            "date": time.strftime("%Y-%m-%d"),
            "command": " ".join(step["command"].split()),
        }
        self.recorded.add(step["name"])
        append_csv(self.out / "runs.csv", [values], COLUMNS)
        print(f"{step['name']}: accuracy {accuracy or '-'}, {values['wall_s']} s", flush=True)


def main(argv: Optional[list] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", type=Path, help="the list, experiments/esc10.yaml say")
    parser.add_argument("--out", type=Path, help="where the figures go (default: results/, by the name of the list)")
    parser.add_argument("--only", nargs="+", help="names of steps, or how they begin (default: all with a score)")
    args = parser.parse_args(argv)
    experiments = Experiments(args.experiments, args.out or RESULTS / args.experiments.stem)
    for name, step in experiments.steps.items():
        wanted = name.startswith(tuple(args.only)) if args.only else "score" in step
        if wanted and name not in experiments.recorded:
            try:
                experiments.do(name)
            except RuntimeError as error:
                print(f"run.py: {error}; the same command goes on from here", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
