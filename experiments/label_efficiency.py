"""How many labelled clips a frozen encoder needs, next to random weights and the log-mel.

    python -m experiments.label_efficiency --checkpoint CHECKPOINT --data data/esc10 --out FILE.json --plot FILE.png

Of each fold, K clips per class are drawn from the other folds, ten times; a logistic regression (C=0.1, features
standardised by the drawn clips) learns from them alone and is scored on the fold. The last layer, by several poolings.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from maskspec_fairseq.atomic_write import write_json
from maskspec_fairseq.inference.load import load_model
from maskspec_fairseq.inference.probing import Corpus, random_weights, read_corpus
from maskspec_fairseq.inference.sweep import read_encoder, read_log_mel

POOLS = ["mean", "frequency+std"]
LOG_MEL_POOL = "mean+max+std"
COUNTS = [1, 2, 4, 8, 16, 32]
DRAWS = 10


def draw(classes: np.ndarray, candidates: np.ndarray, count: int, seed: Sequence[int]) -> np.ndarray:
    """`count` of the candidates of each class."""
    rng = np.random.default_rng(seed)
    of_classes = [candidates[classes[candidates] == number] for number in np.unique(classes)]
    return np.concatenate([rng.choice(own, count, replace=False) for own in of_classes])


def accuracy(corpus: Corpus, features: np.ndarray, fold: int, count: int, number: int) -> float:
    """Of the probe that learns from one draw.

    Args:
        fold: number of the split.
        count: labelled clips per class.
        number: of the draw.
    """
    classes = corpus.target.argmax(axis=1)
    train, test = corpus.splits[fold]
    fitted = draw(classes, np.concatenate([corpus.subsets[name] for name in train]), count, (fold, count, number))
    # a rotation into as few directions as there are clips changes no score, and is quicker
    probe = make_pipeline(StandardScaler(), PCA(), LogisticRegression(C=0.1, max_iter=1000))
    held = corpus.subsets[test]
    return float(probe.fit(features[fitted], classes[fitted]).score(features[held], classes[held]))


def measure(corpus: Corpus, features: np.ndarray) -> dict[str, dict[str, float]]:
    """Per number of labelled clips per class the mean accuracy, and the deviation over the folds of the draws' mean."""
    found = {}
    for count in COUNTS:
        of_folds = [
            np.mean([accuracy(corpus, features, fold, count, number) for number in range(DRAWS)])
            for fold in range(len(corpus.splits))
        ]
        found[str(count)] = {"mean": float(np.mean(of_folds)), "std": float(np.std(of_folds, ddof=1))}
    return found


def picture(curves: dict[str, Any]) -> Figure:
    """The curves, with the deviation over the folds."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        line = "--" if name.startswith("random") else ":" if name.startswith("log-mel") else "-"
        colour = "C0" if name.endswith("frequency+std") else "C1" if name.endswith(", mean") else "C2"
        means, deviations = ([point[key] for point in points.values()] for key in ("mean", "std"))
        axes.errorbar(list(map(int, points)), means, deviations, fmt=line + "o", color=colour, label=name, capsize=2)
    axes.set_xscale("log", base=2)
    axes.set_xticks(COUNTS, [str(count) for count in COUNTS])
    axes.set_xlabel("labelled clips per class")
    axes.set_ylabel("accuracy, mean over the folds")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--data", required=True, help="a data directory with folds and one class per clip")
    parser.add_argument("--out", type=Path, required=True, help="JSON with the scores")
    parser.add_argument("--plot", type=Path, required=True, help="PNG")
    args = parser.parse_args(argv)
    model = load_model(args.checkpoint, POOLS[0])
    model.read_out(POOLS[0], (len(model.network.encoder.blocks),))
    corpus = read_corpus(args.data, None, None)
    curves = {}
    for title, encoder in (("pretrained", model), ("random weights", random_weights(model))):
        for readout, features in read_encoder(encoder, corpus, POOLS, title):
            curves[f"{title}, {readout.pool}"] = measure(corpus, features)
    for readout, features in read_log_mel(model, corpus):
        if readout.pool == LOG_MEL_POOL:
            curves[f"log-mel, {readout.pool}"] = measure(corpus, features)
    for name, points in curves.items():
        print(f"{name:32}", *(f"{count}: {point['mean']:.4f} +- {point['std']:.4f}" for count, point in points.items()))
    write_json(args.out, curves)
    picture(curves).savefig(args.plot, dpi=110)
    return 0


if __name__ == "__main__":
    sys.exit(main())
