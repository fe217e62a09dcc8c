"""maskspec-plot-loss: the loss curve out of a run's hydra_train.log, beside that of a predictor of the mean."""

import argparse
import json
import re
import sys
from typing import Any, Dict, Iterator, List, Optional, Tuple

import matplotlib

from maskspec_fairseq.cli.arguments import make_parser

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

EXAMPLE = "maskspec-plot-loss runs/esc10_tiny/hydra_train.log --out loss.png"
# fairseq's lines with common.log_format=json: [time][train_inner][INFO] - {"epoch": 1, "loss": "0.9", ...}
LOG_LINE = re.compile(r'\[(\w+)\]\[INFO\] - (\{"epoch": .*\})\s*$')
Curve = List[Tuple[float, float]]


def log_entries(path: str) -> Iterator[Tuple[str, Dict[str, Any]]]:
    """(train_inner, train or the subset of a validation, what fairseq logged) for every such line, in order."""
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            match = LOG_LINE.search(line)
            if match:
                yield match[1], json.loads(match[2])


def read_curves(path: str) -> Dict[str, Curve]:
    """The curves of a log as (epochs, value): train_inner and valid, `loss` and `baseline_loss` each.

    Raises:
        ValueError: no such lines in the log.
    """
    curves: Dict[str, Curve] = {}
    for kind, entry in log_entries(path):
        if kind not in ("train_inner", "valid"):  # train has the means over an epoch of what train_inner has
            continue
        prefix, epochs = ("valid_", entry["epoch"]) if kind == "valid" else ("", entry.get("update"))
        for name in ("loss", "baseline_loss"):
            if prefix + name in entry and epochs is not None:
                curves.setdefault(f"{kind} {name}", []).append((float(epochs), float(entry[prefix + name])))
    if not curves:
        raise ValueError(f"{path}: expected lines of a pretraining with common.log_format=json, found none")
    return curves


def draw(curves: Dict[str, Curve], path: str) -> None:
    """Draw the curves into a PNG."""
    styles = {
        "train_inner loss": dict(label="training", color="C0", alpha=0.6),
        "train_inner baseline_loss": dict(label="training, predicting the mean", color="C0", linestyle=":", alpha=0.6),
        "valid loss": dict(label="held out", color="C1", marker="."),
        "valid baseline_loss": dict(label="held out, predicting the mean", color="C1", linestyle="--"),
    }
    figure, axis = plt.subplots(figsize=(9, 5), layout="constrained")
    for name, style in styles.items():
        if name in curves:
            axis.plot(*zip(*curves[name]), **style)
    axis.set_xlabel("epochs")
    axis.set_ylabel("squared error a masked value")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-plot-loss", __doc__, EXAMPLE)
    parser.add_argument("log", help="hydra_train.log in the run's directory")
    parser.add_argument("--out", default="loss.png", help="the picture (default loss.png)")
    return parser


def main(argv: Optional[list] = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        curves = read_curves(args.log)
        draw(curves, args.out)
    except (OSError, ValueError) as error:
        print(f"maskspec-plot-loss: {error}", file=sys.stderr)
        return 1
    last = {name: curve[-1] for name, curve in curves.items()}
    print(f"{args.out}: " + ", ".join(f"{name} {value:.4f} at epoch {at:g}" for name, (at, value) in last.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
