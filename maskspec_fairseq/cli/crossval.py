"""maskspec-crossval: finetune on every fold in turn, score the fold held out, and print mean and deviation."""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from typing import Any, Dict, List, Optional

from maskspec_fairseq.argument_types import int_at_least
from maskspec_fairseq.cli import evaluate
from maskspec_fairseq.cli.arguments import make_parser
from maskspec_fairseq.data_dir.manifest import list_folds

EXAMPLE = "maskspec-crossval --config-name esc50 --data data/esc50 --pretrained CHECKPOINT task.clip_sec=4"
HEADLINE = {False: "accuracy", True: "mAP"}


def train_command(args: argparse.Namespace, fold: int, run_dir: str) -> List[str]:
    """fairseq-hydra-train, by this interpreter, for one fold."""
    command = [sys.executable, "-m", "fairseq_cli.hydra_train", "--config-dir", args.config_dir]
    command += ["--config-name", args.config_name, f"task.data={os.path.abspath(args.data)}", f"task.fold={fold}"]
    command += [f"hydra.run.dir={os.path.abspath(run_dir)}"]
    if args.pretrained:
        command += [f"model.pretrained={os.path.abspath(args.pretrained)}"]
    return command + args.overrides


def expect_same_run(args: argparse.Namespace, fold: int, run_dir: str) -> None:
    """See that what is in a fold's directory was made by the same command, or note the command there.

    Raises:
        RuntimeError: it was made by another one.
    """
    # only what decides the result: another interpreter or directory does not
    command = train_command(args, fold, run_dir)[1:]
    run = {"command": command, "pretrained_sha256": sha256(args.pretrained) if args.pretrained else None}
    path = os.path.join(run_dir, "crossval_run.json")
    if not os.path.isfile(path):
        os.makedirs(run_dir, exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            json.dump(run, stream, indent=1)
        return
    with open(path, encoding="utf-8") as stream:
        theirs = json.load(stream)
    if theirs != run:
        raise RuntimeError(
            f"expected {run_dir} to be of this command, found that of {' '.join(theirs['command'])} with "
            f"a pretrained checkpoint of SHA-256 {theirs['pretrained_sha256']}; choose another --out, or remove it"
        )


def sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def score_fold(args: argparse.Namespace, run_dir: str, fold: int, checkpoint: str) -> Dict[str, Any]:
    """Scores of a checkpoint on the fold held out, from an earlier call where there are any."""
    out = os.path.join(run_dir, "scores_" + checkpoint)
    path = os.path.join(out, "scores.json")
    if not os.path.isfile(path):
        arguments = ["--checkpoint", os.path.join(run_dir, "checkpoints", f"checkpoint_{checkpoint}.pt")]
        arguments += ["--data", args.data, "--subset", f"fold{fold}", "--out", out]
        if evaluate.main(arguments):
            raise RuntimeError(f"fold {fold} cannot be scored")
    with open(path, encoding="utf-8") as stream:
        return json.load(stream)["scores"]


def run_fold(args: argparse.Namespace, fold: int) -> Dict[str, Dict[str, float]]:
    """Train where that has not been done, and score.

    Raises:
        RuntimeError: the training failed, or another command has trained there.
    """
    run_dir = os.path.join(args.out, f"fold{fold}")
    expect_same_run(args, fold, run_dir)
    done = os.path.join(run_dir, "done")
    if not os.path.isfile(done):
        print(f"fold {fold}: training in {run_dir}", flush=True)
        log = os.path.join(run_dir, "output.log")
        for name in ("last", "best"):
            shutil.rmtree(os.path.join(run_dir, f"scores_{name}"), ignore_errors=True)
        with open(log, "a", encoding="utf-8") as stream:
            code = subprocess.call(train_command(args, fold, run_dir), stdout=stream, stderr=subprocess.STDOUT)
        if code:
            raise RuntimeError(
                f"fold {fold}: training failed, its output is in {log}; the same command goes on from there"
            )
        open(done, "w").close()
    names = ["last", "best"] if args.best_on_test else ["last"]
    return {name: score_fold(args, run_dir, fold, name) for name in names}


def folds_of(args: argparse.Namespace) -> List[int]:
    """The folds that are asked for, or all of them.

    Raises:
        RuntimeError: the data have none, or not those.
    """
    found = list_folds(args.data)
    missing = [fold for fold in args.folds or [] if fold not in found]
    if len(found) < 2 or missing:
        raise RuntimeError(
            f"{args.data}: expected subsets fold1, fold2, ..., found {len(found)} such manifests"
            + (f" and none of fold {', '.join(map(str, missing))}" if missing else "")
            + "; `python manifests/build.py esc50` writes such a directory"
        )
    return args.folds or found


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-crossval", __doc__, EXAMPLE)
    parser.add_argument("--config-dir", default="config/finetuning", help="(default: %(default)s)")
    parser.add_argument("--config-name", required=True, help="a recipe, esc50 say")
    parser.add_argument("--data", required=True, metavar="DATA_DIR", help="with subsets fold1, fold2, ...")
    parser.add_argument("--pretrained", help="checkpoint to start from (default: random weights)")
    parser.add_argument("--folds", nargs="+", type=int_at_least(1), help="the ones to hold out in turn (default: all)")
    parser.add_argument("--out", help="where the runs go (default: runs/CONFIG_NAME); what is done there is kept")
    parser.add_argument(
        "--best-on-test", action="store_true", help="also the epoch that is best on the fold held out: no fair figure"
    )
    parser.add_argument("overrides", nargs="*", help="fields of the recipe, FIELD=VALUE")
    return parser


def main(argv: Optional[list] = None) -> int:
    args = build_parser().parse_intermixed_args(argv)
    args.out = args.out or os.path.join("runs", args.config_name)
    folds = {}
    try:
        args.folds = folds_of(args)
        for fold in args.folds:
            folds[fold] = run_fold(args, fold)
    except (OSError, RuntimeError) as error:
        print(f"maskspec-crossval: {error}", file=sys.stderr)
        return 1
    summary: Dict[str, Any] = {"folds": folds}
    for name, title in [("last", "last epoch"), ("best", "best epoch on the test fold, no fair figure")]:
        if name not in folds[args.folds[0]]:
            continue
        headline = HEADLINE["mAP" in folds[args.folds[0]][name]]
        values = [folds[fold][name][headline] for fold in args.folds]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        summary[title] = {headline: statistics.mean(values), "standard_deviation": deviation}
        listed = "  ".join(f"fold{fold} {value:.4f}" for fold, value in zip(args.folds, values))
        print(f"{title}: {headline} {statistics.mean(values):.4f} +- {deviation:.4f}   {listed}")
    with open(os.path.join(args.out, "crossval.json"), "w", encoding="utf-8") as stream:
        json.dump(summary, stream, indent=1)
        stream.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
