"""Run a list of experiments and keep their results in results/NAME: `python -m experiments.run experiments/esc10.yaml`.

The list has steps, the most informative first. A step is a command of this project, the file that it makes (by default
its score), and the steps that it needs. `over` repeats a step for values whose names stand in braces: a dictionary of
values and of lists, for every combination of them, or several such dictionaries. A step with a `score` (a file that
maskspec-evaluate or maskspec-probe writes) adds a row to runs.csv; one with a `run_dir` leaves its log as logs/STEP.csv
and its resolved config as configs/STEP.yaml.

Steps with a row, or a file, are not run again; an interrupted step resumes, because its command does. A step with a row
runs again only if a later step needs its file and the file is gone.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import yaml

from maskspec_fairseq.training_log import TRAINING, log_entries

COLUMNS = ["step", "accuracy", "deviation", "wall_s", "peak_mib", "commit", "date", "command"]
RESULTS = Path(__file__).resolve().parents[1] / "results"
LOGGED = ["loss", "baseline_loss", "accuracy", "lr", "gnorm", "clips_per_sec", "wall"]


def read_steps(path: Path) -> dict[str, dict[str, Any]]:
    """Steps by name; one with `over` is there once per combination of its values.

    Raises:
        ValueError: two steps have one name, or a step needs one that is not before it.
    """
    steps: dict[str, dict[str, Any]] = {}
    for step in yaml.safe_load(path.read_text(encoding="utf-8"))["steps"]:
        for named in combinations(step.pop("over", {})):
            filled = {key: fill(value, named) for key, value in step.items()}
            filled.setdefault("makes", filled.get("score"))
            if filled["name"] in steps:
                raise ValueError(f"{path}: expected steps of different names, found two of {filled['name']}")
            missing = [need for need in filled.get("needs", []) if need not in steps]
            if missing:
                raise ValueError(f"{path}: expected {missing} before {filled['name']}, which needs them")
            steps[filled["name"]] = filled
    return steps


def combinations(over: Union[dict[str, Any], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Every combination of the values of a dictionary, or of each of several; what is no list is its one value."""
    found = []
    for values in over if isinstance(over, list) else [over]:
        lists = [value if isinstance(value, list) else [value] for value in values.values()]
        found += [dict(zip(values, combination)) for combination in itertools.product(*lists)]
    return found


def fill(value: Any, named: dict[str, Any]) -> Any:
    """Put values into the braces of a text, or of a list of texts."""
    if isinstance(value, list):
        return [fill(item, named) for item in value]
    for name, text in named.items():
        value = value.replace("{" + name + "}", str(text))
    return value


def read_log(run_dir: Path) -> list[dict[str, str]]:
    """A row per epoch of a run's hydra_train.log: train_loss, valid_loss and so on; the last one of an epoch run twice.

    The subset that is validated on is named valid, whatever its name in the log.
    """
    epochs: dict[int, dict[str, str]] = {}
    for kind, entry in log_entries(run_dir / "hydra_train.log"):
        if kind != "train_inner":
            row = epochs.setdefault(int(entry["epoch"]), {"epoch": str(entry["epoch"])})
            to = "train" if kind in TRAINING else "valid"
            row.update({f"{to}_{name}": entry[f"{kind}_{name}"] for name in LOGGED if f"{kind}_{name}" in entry})
    return [epochs[epoch] for epoch in sorted(epochs)]


def read_score(path: Path) -> tuple[str, str]:
    """Accuracy and deviation: of maskspec-evaluate, without deviation, or over the folds of a linear maskspec-probe.

    One fold has no deviation.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    if "features" not in found:
        return f"{found['scores']['accuracy']:.4f}", ""
    folds = list(found["features"]["embeddings"]["linear"].values())
    return f"{statistics.mean(folds):.4f}", f"{statistics.stdev(folds):.4f}" if len(folds) > 1 else ""


def append_csv(path: Path, rows: list[dict[str, Any]], columns: list[str]) -> None:
    """Append rows to a CSV file, which begins with the names of the columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        if not stream.tell():
            writer.writeheader()
        writer.writerows(rows)


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


class Experiments:
    """The steps of a list, and the names of those that have a row."""

    def __init__(self, path: Path, out: Path) -> None:
        self.out = out
        self.steps = read_steps(path)
        self.recorded: set[str] = set()
        if (self.out / "runs.csv").exists():
            with open(self.out / "runs.csv", encoding="utf-8", newline="") as stream:
                self.recorded = {row["step"] for row in csv.DictReader(stream)}

    def choose(self, only: Optional[Sequence[str]]) -> set[str]:
        """The names of the steps that are named, or that begin as is named; of those with a score if None.

        Raises:
            ValueError: there is no such step.
        """
        if only is None:
            return {name for name, step in self.steps.items() if "score" in step}
        chosen = set()
        for given in only:
            found = {given} & set(self.steps) or {name for name in self.steps if name.startswith(given)}
            if not found:
                raise ValueError(f"--only: expected a step of the list, or how one begins, found {given}; correct it")
            chosen |= found
        return chosen

    def do(self, name: str) -> None:
        """Make the files that a step needs, then its own, and record its result.

        Raises:
            RuntimeError: a command failed, or did not make its file.
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
            _, status, usage = os.wait4(process.pid, 0)  # of this step only, with the processes it started
            code, peak_mib = os.waitstatus_to_exitcode(status), usage.ru_maxrss / 1024
            seconds = time.time() - start
            if code or not os.path.exists(step["makes"]):
                raise RuntimeError(f"{name}: expected {step['makes']}, found none; its command ended with {code}")
        if ("score" in step or "run_dir" in step) and name not in self.recorded:
            self.record(step, seconds, peak_mib)

    def record(self, step: dict[str, Any], seconds: float, peak_mib: float) -> None:
        name = step["name"].replace("/", "_")
        accuracy, deviation = read_score(Path(step["score"])) if "score" in step else ("", "")
        if "run_dir" in step:
            log = read_log(Path(step["run_dir"]))
            columns = ["epoch", *(f"{kind}_{key}" for kind in ("train", "valid") for key in LOGGED)]
            columns = [key for key in columns if any(key in row for row in log)]
            (self.out / "logs" / f"{name}.csv").unlink(missing_ok=True)
            append_csv(self.out / "logs" / f"{name}.csv", log, columns)
            seconds = float(log[-1]["train_wall"])  # of all parts of an interrupted run
            (self.out / "configs").mkdir(exist_ok=True)
            config = (Path(step["run_dir"]) / ".hydra" / "config.yaml").read_text(encoding="utf-8")
            config = config.replace(os.getcwd() + "/", "")  # no absolute paths
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


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", type=Path, help="the list, for example experiments/esc10.yaml")
    parser.add_argument("--out", type=Path, help="where the results go (default: results/NAME of the list)")
    parser.add_argument(
        "--only", nargs="+", help="names of steps, or prefixes of names (default: all steps with a score)"
    )
    args = parser.parse_args(argv)
    experiments = Experiments(args.experiments, args.out or RESULTS / args.experiments.stem)
    try:
        wanted = experiments.choose(args.only)
    except ValueError as error:
        parser.error(str(error))
    for name in experiments.steps:
        if name in wanted and name not in experiments.recorded:
            try:
                experiments.do(name)
            except RuntimeError as error:
                print(f"experiments.run: {error}; the same command resumes from here", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
