"""How many directions a frozen encoder's embeddings use, and what neighbours gain from evening them out.

    python -m experiments.feature_directions --checkpoint CHECKPOINT --data data/esc10 --layers 8,12

The embeddings (frequency+std) are standardised by the training folds and rotated to their principal directions. Printed
per layer, of the encoder and of random weights: the share of the variance in the first directions; the effective rank,
exp(entropy of the shares); and the accuracy over the folds of ten neighbours and of a logistic regression (C=0.1), by
all directions as they are, without the first ones, and by the first 32 or 128 whitened (all of the same deviation).
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Optional

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from maskspec_fairseq.argument_types import layers
from maskspec_fairseq.inference.load import load_model
from maskspec_fairseq.inference.probing import Corpus, random_weights, read_corpus
from maskspec_fairseq.inference.sweep import read_encoder

POOL = "frequency+std"
DROPPED, WHITENED = (1, 2, 4), (32, 128)


def rotations(corpus: Corpus, features: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Of each fold: features in principal directions and classes, of the training folds and of the fold."""
    classes = corpus.target.argmax(axis=1)
    for train, test in corpus.splits:
        fitted = np.concatenate([corpus.subsets[name] for name in train])
        held = corpus.subsets[test]
        scaler = StandardScaler().fit(features[fitted])
        scaled = scaler.transform(features[fitted])
        directions = np.linalg.svd(scaled, full_matrices=False)[2].T  # (D, K), the largest variance first
        yield scaled @ directions, classes[fitted], scaler.transform(features[held]) @ directions, classes[held]


def accuracies(corpus: Corpus, features: np.ndarray) -> dict[str, list[float]]:
    """Per treatment of the directions and kind of probe, of each fold."""
    found: dict[str, list[float]] = {}
    for fitted, classes, held, truth in rotations(corpus, features):
        views = {"as they are": (fitted, held)}
        views.update({f"without the first {n}": (fitted[:, n:], held[:, n:]) for n in DROPPED})
        for count in WHITENED:
            deviation = fitted[:, :count].std(axis=0)
            views[f"first {count} whitened"] = (fitted[:, :count] / deviation, held[:, :count] / deviation)
        for name, (rows, others) in views.items():
            neighbours = KNeighborsClassifier(10, metric="cosine", weights="distance").fit(rows, classes)
            regression = LogisticRegression(C=0.1, max_iter=1000).fit(rows, classes)
            found.setdefault(f"{name}, neighbours", []).append(neighbours.score(others, truth))
            found.setdefault(f"{name}, linear", []).append(regression.score(others, truth))
    return found


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--data", required=True, help="a data directory with folds and one class per clip")
    parser.add_argument("--layers", type=layers, default="all", help="numbers, from 1 (default: all)")
    args = parser.parse_args(argv)
    model = load_model(args.checkpoint, POOL, args.layers)
    corpus = read_corpus(args.data, None, None)
    for title, encoder in (("encoder", model), ("random weights", random_weights(model))):
        for readout, features in read_encoder(encoder, corpus, [POOL], title):
            variance = next(rotations(corpus, features))[0].var(axis=0)
            shares = variance / variance.sum()
            rank = np.exp(-(shares * np.log(shares + 1e-12)).sum())
            first = " ".join(f"{share:.3f}" for share in shares[:4])
            print(f"{title}, layer {readout.layer}: share of variance {first}, effective rank {rank:.1f}")
            for name, folds in accuracies(corpus, features).items():
                print(f"    {name}: {np.mean(folds):.4f} +- {np.std(folds, ddof=1):.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
