"""maskspec-crossval: finetune on every fold in turn, score the one held out, and print mean and standard deviation."""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

from maskspec_fairseq.argument_types import int_at_least, output_name
from maskspec_fairseq.atomic_write import write_json
from maskspec_fairseq.checkpoints.exported import pretrained_path, weights_file
from maskspec_fairseq.checkpoints.run_record import sha256
from maskspec_fairseq.cli.arguments import make_parser
from maskspec_fairseq.cli.program import run_program
from maskspec_fairseq.data_dir.digest import digest_clips
from maskspec_fairseq.data_dir.manifest import list_folds
from maskspec_fairseq.hydra_override import format_override

EXAMPLE = "maskspec-crossval --config-name esc50 --data data/esc50 --pretrained CHECKPOINT task.clip_sec=4"
HEADLINE = {False: "accuracy", True: "mAP"}
# Which checkpoint of a run is scored -> its name in the summary.
TITLES = {"last": "last epoch", "best": "best epoch, optimistic: chosen on the test fold"}
# "- base" and "- size: tiny" in the defaults list of a recipe.
LIST_ENTRY = re.compile(r"^ *- +(?:(\S+): +)?(\S+)", re.MULTILINE)
# The first line of an exception at the end of a traceback: "hydra.errors.MissingConfigException: Cannot find ...".
EXCEPTION = re.compile(r"[\w.]*(?:Error|Exception|Interrupt)\b(?:: .*)?")


def train_command(args: argparse.Namespace, fold: int, run_dir: Path) -> list[str]:
    """fairseq-hydra-train for one fold, by this interpreter."""
    command = [sys.executable, "-m", "fairseq_cli.hydra_train", "--config-dir", args.config_dir]
    command += ["--config-name", args.config_name, format_override("task.data", os.path.abspath(args.data))]
    command += [f"task.fold={fold}", format_override("hydra.run.dir", os.path.abspath(run_dir))]
    if args.pretrained:
        command += [format_override("model.pretrained", pretrained_path(args.pretrained, ""))]
    return command + args.overrides


def recipe_files(config_dir: Path, name: str, overrides: Sequence[str]) -> list[Path]:
    """The file of a recipe, those of its defaults list and of theirs, and those that overrides choose, GROUP=NAME."""
    found: set[Path] = set()
    waiting = [name, *(override.replace("=", "/") for override in overrides)]
    while waiting:
        path = config_dir / f"{waiting.pop()}.yaml"
        if path not in found and os.path.isfile(path):  # else it is `_self_`, or a field of any length
            found.add(path)
            entries = LIST_ENTRY.findall(path.read_text(encoding="utf-8"))
            waiting += [f"{group}/{option}" if group else option for group, option in entries]
    return sorted(found)


def note_or_compare(args: argparse.Namespace, fold: int, run_dir: Path) -> None:
    """Check that a fold's checkpoints, if there are any, are of this command, recipe, data and start; else note these.

    Raises:
        ValueError: they are of others.
        ManifestError: a fold has no manifest.
    """
    start = weights_file(pretrained_path(args.pretrained, "")) if args.pretrained else ""
    files = recipe_files(Path(args.config_dir), args.config_name, args.overrides)
    recipe = {str(path.relative_to(args.config_dir)): sha256(path) for path in files}
    run = {
        "command": train_command(args, fold, run_dir)[1:],  # the interpreter does not decide the result
        "pretrained_sha256": sha256(start) if start else None,
        "data_sha256": digest_clips(args.data, [f"fold{number}" for number in list_folds(args.data)], labels=True),
        "recipe_sha256": recipe,
    }
    path = run_dir / "crossval_run.json"
    if not path.is_file() or not any((run_dir / "checkpoints").glob("*.pt")):
        write_json(path, run)
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    differing = [name for name in found if found[name] != run.get(name)]  # earlier versions noted less
    if differing:
        noted = found.get("recipe_sha256", {})
        changed = sorted(file for file in {*noted, *recipe} if noted.get(file) != recipe.get(file))
        shown = {
            "command": f"the command {' '.join(found['command'])}",
            "pretrained_sha256": f"a pretrained checkpoint of SHA-256 {found['pretrained_sha256']}",
            "data_sha256": f"other clips or labels in {args.data}",
            "recipe_sha256": f"another {', '.join(changed)} in {args.config_dir}",
        }
        raise ValueError(
            f"expected {run_dir} to be of this command, recipe, data and start, found that it is of "
            f"{'; '.join(shown[name] for name in differing)}; choose another --out, or remove it"
        )


def score_fold(args: argparse.Namespace, run_dir: Path, fold: int, checkpoint: str) -> dict[str, float]:
    """Scores of a checkpoint on the fold held out; those of an earlier call, if there are any.

    Raises:
        ChildProcessError: maskspec-evaluate failed.
    """
    out = run_dir / f"scores_{checkpoint}"
    path = out / "scores.json"
    if not path.is_file():
        command = [
            sys.executable,
            "-m",
            "maskspec_fairseq.cli.evaluate",
            "--data",
            args.data,
            "--subset",
            f"fold{fold}",
        ]
        command += ["--checkpoint", str(run_dir / "checkpoints" / f"checkpoint_{checkpoint}.pt"), "--out", str(out)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
        if done.returncode:
            raise ChildProcessError(f"fold {fold}: cannot be scored, maskspec-evaluate says: {done.stderr.strip()}")
    return json.loads(path.read_text(encoding="utf-8"))["scores"]


def run_fold(args: argparse.Namespace, fold: int) -> dict[str, dict[str, float]]:
    """Train, unless that has been done, and score.

    Raises:
        ValueError: another command has trained there, or with another recipe, other data, or from another start.
        ChildProcessError: the training or the scoring failed.
    """
    run_dir = Path(args.out, f"fold{fold}")
    note_or_compare(args, fold, run_dir)
    done = run_dir / "done"
    if not done.is_file():
        print(f"fold {fold}: training in {run_dir}, progress in {run_dir / 'output.log'}", flush=True)
        for name in TITLES:
            shutil.rmtree(run_dir / f"scores_{name}", ignore_errors=True)
        train(train_command(args, fold, run_dir), run_dir / "output.log", fold)
        done.touch()
    return {name: score_fold(args, run_dir, fold, name) for name in TITLES if name == "last" or args.best_on_test}


def train(command: list[str], log: Path, fold: int) -> None:
    """Run a training whose output is appended to a log.

    Raises:
        ChildProcessError: it failed.
        KeyboardInterrupt: it was interrupted; the message says so.
    """
    # the exception itself instead of hydra's hint at this variable; and a log that has every character
    env = {**os.environ, "HYDRA_FULL_ERROR": "1", "PYTHONIOENCODING": "utf-8"}
    with open(log, "ab") as stream:
        start = stream.tell()
        try:
            code = subprocess.call(command, stdout=stream, stderr=subprocess.STDOUT, env=env)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"fold {fold} was in training, its output is in {log}; the same command resumes from its last "
                "checkpoint, and keeps the folds that are done"
            ) from None
    if code:
        with open(log, "rb") as output:
            output.seek(start)
            reason = last_error(output.read().decode(errors="replace"))
        resumes = (log.parent / "checkpoints" / "checkpoint_last.pt").is_file()
        cure = "the same command resumes from the last checkpoint" if resumes else "correct the command"
        raise ChildProcessError(f"fold {fold}: training failed: {reason}; {cure}. All its output is in {log}")


def last_error(output: str) -> str:
    """The last line that names an exception; without one the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["no output"]
    return next((line for line in reversed(lines) if EXCEPTION.match(line)), lines[-1])


def check_recipe(args: argparse.Namespace) -> None:
    """Check that the recipe exists; hydra would compose fairseq's defaults instead, and complain about a field.

    Raises:
        ValueError: there is no such recipe.
    """
    recipes = sorted(path.stem for path in Path(args.config_dir).glob("*.yaml"))
    if args.config_name not in recipes:
        raise ValueError(
            f"expected a recipe of {args.config_dir} ({', '.join(recipes) or 'which has none'}), found "
            f"{args.config_name}; correct --config-name or --config-dir"
        )


def choose_folds(args: argparse.Namespace) -> list[int]:
    """The folds of --folds, or all.

    Raises:
        ValueError: the data have no folds, or not those.
    """
    found = list_folds(args.data)
    missing = [fold for fold in args.folds if fold not in found]
    if len(found) < 2 or missing:
        raise ValueError(
            f"{args.data}: expected subsets fold1, fold2, ..., found {len(found)} such manifests"
            + (f" and none of fold {', '.join(map(str, missing))}" if missing else "")
            + "; write the directory with maskspec-build, of a corpus with folds"
        )
    return args.folds or found


def fold_or_override(text: str) -> Union[int, str]:
    """A fold, or an override, which --folds would take for one of its values if it comes right after them."""
    return text if "=" in text else int_at_least(1)(text)


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-crossval", __doc__, EXAMPLE)
    parser.add_argument("--config-dir", default="config/finetuning", help="(default: %(default)s)")
    parser.add_argument("--config-name", required=True, help="a recipe, for example esc50")
    parser.add_argument("--data", required=True, metavar="DATA_DIR", help="with subsets fold1, fold2, ...")
    parser.add_argument("--pretrained", help="to start from: see model.pretrained (default: random weights)")
    parser.add_argument(
        "--folds", nargs="+", type=fold_or_override, metavar="N", help="those to hold out in turn (default: all)"
    )
    parser.add_argument(
        "--out",
        type=output_name,
        help="where the runs go (default: runs/CONFIG_NAME); finished folds are not run again",
    )
    parser.add_argument(
        "--best-on-test",
        action="store_true",
        help="also score the best epoch, which is optimistic: it is chosen on the test fold",
    )
    parser.add_argument("overrides", nargs="*", help="fields of the recipe, FIELD=VALUE")
    return parser


def run(args: argparse.Namespace) -> None:
    args.out = args.out or os.path.join("runs", args.config_name)
    args.overrides = [value for value in args.folds or [] if isinstance(value, str)] + args.overrides
    args.folds = [value for value in args.folds or [] if not isinstance(value, str)]
    check_recipe(args)
    folds = {fold: run_fold(args, fold) for fold in choose_folds(args)}
    summary: dict[str, Any] = {"folds": folds}
    for name in next(iter(folds.values())):
        scores = {fold: scores_of[name] for fold, scores_of in folds.items()}
        headline = HEADLINE[all("mAP" in values for values in scores.values())]
        values = [scores[fold][headline] for fold in scores]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        summary[TITLES[name]] = {headline: statistics.mean(values), "standard_deviation": deviation}
        each = "  ".join(f"fold{fold} {scores[fold][headline]:.4f}" for fold in scores)
        print(f"{TITLES[name]}: {headline} {statistics.mean(values):.4f} +- {deviation:.4f}   {each}")
    write_json(Path(args.out, "crossval.json"), summary)


def main(argv: Optional[Sequence[str]] = None) -> int:
    return run_program(build_parser(), run, argv, intermixed=True)


if __name__ == "__main__":
    sys.exit(main())
