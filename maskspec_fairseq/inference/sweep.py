"""Probe every layer by every pooling in one run, which encodes each clip once.

Shapes: N clips, Y layers, G vectors of `EVERY`, D width, F mel bins, E width of an embedding.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from maskspec_fairseq.inference.audio_model import AudioModel, Layers
from maskspec_fairseq.inference.probes import PROBES, ProbeScores
from maskspec_fairseq.inference.probing import (
    Corpus,
    embeddings_of,
    log_mel_statistics,
    random_weights,
    read_corpus,
    stack,
)
from maskspec_fairseq.modules.pooling import EVERY, POOLS, check_pool, vectors_of

EMBEDDINGS, RANDOM, LOG_MEL = "embeddings", "random encoder", "log-mel"
# which of the statistics of `log_mel_statistics`: 0 mean, 1 deviation, 2 maximum of every bin
LOG_MEL_POOLS = {"mean": [0], "mean+max": [0, 2], "mean+std": [0, 1], "mean+max+std": [0, 2, 1]}
VALUES_PER_PROCESS = 3_000_000  # fewer features than this are probed sooner than another process has started


class Readout(NamedTuple):
    """A kind of features, the layer (None for the log-mel), and the pooling."""

    features: str
    layer: Optional[int]
    pool: str


def sweep(
    model: AudioModel,
    data: str,
    pools: Optional[Sequence[str]] = None,
    layers: Optional[Layers] = None,
    train: Optional[Sequence[str]] = None,
    test: Optional[str] = None,
    baselines: bool = False,
) -> dict[str, Any]:
    """Encode the clips once, and probe every layer by every pooling, each alone.

    Args:
        model: on the device that it shall compute on; it is changed.
        data: see `probe`.
        pools: out of `POOLS`; all that the encoder has if None.
        layers: numbers of blocks, from 1; all of them if None.
        train, test: see `probe`.
        baselines: the same of an encoder of random weights; and statistics of the log-mel.

    Returns:
        `pools`, `layers` and `score`, the name of the score;
        `readouts`: a list of dictionaries: `features`, `layer` and `pool`; `scores`, per kind of probe that of each
        subset; `inside`, the same of the clips held out inside the training part; and `C`, see `ProbeScores`;
        `features`: per kind of features and kind of probe the score of each subset by the readout that is best inside
        its training part, and `chosen`, which one that is.

    Raises:
        AudioError: a clip cannot be read.
        ManifestError: a subset or its labels cannot be read.
        ValueError: a pooling or layers that the encoder does not have.
    """
    has_cls = model.architecture["cls_token"]
    pools = list(dict.fromkeys(pools or [pool for pool in POOLS if has_cls or not pool.startswith("cls")]))
    for pool in pools:
        if pool not in POOLS:
            raise ValueError(f"expected --pool with --sweep out of {', '.join(POOLS)}, found {pool!r}; leave it out")
        check_pool(pool, has_cls)
    model.read_out(pools[0], layers or "all")
    model.layers = tuple(sorted({*model.layers}))
    corpus = read_corpus(data, train, test)

    num_values = len(corpus.files) * len(model.layers) * len(pools) * model.network.encoder.embed_dim
    found: dict[Readout, ProbeScores] = {}
    with Parallel(n_jobs=min(cpu_count(), 1 + num_values // VALUES_PER_PROCESS)) as parallel:
        for title in (EMBEDDINGS, RANDOM, LOG_MEL)[: 3 if baselines else 1]:
            if title == LOG_MEL:
                count, readouts = len(LOG_MEL_POOLS), read_log_mel(model, corpus)
            else:
                encoder = model if title == EMBEDDINGS else random_weights(model)
                count, readouts = len(model.layers) * len(pools), read_encoder(encoder, corpus, pools, title)
            jobs = tqdm(readouts, unit="readout", desc=f"{title}, probes", total=count)
            found.update(parallel(delayed(_score)(corpus, readout, features) for readout, features in jobs))
    return {"pools": pools, "layers": list(model.layers), **summarise_sweep(found)}


def _score(corpus: Corpus, readout: Readout, features: np.ndarray) -> tuple[Readout, ProbeScores]:
    return readout, corpus.score(features, inside=True)


def read_encoder(
    model: AudioModel, corpus: Corpus, pools: Sequence[str], title: str
) -> Iterator[tuple[Readout, np.ndarray]]:
    """What the embedding of each clip would be, (N, E), for each layer of a model and each pooling."""
    model.network.pool = EVERY
    rows = stack(embeddings_of(model, corpus.files), len(corpus.files), title)
    rows = rows.reshape(len(rows), len(model.layers), -1, model.network.encoder.embed_dim)  # (N, Y, G, D)
    model.network.pool = model.architecture["pool"]
    return _pooled(rows, model.layers, pools, title)


def _pooled(
    rows: np.ndarray, layers: Sequence[int], pools: Sequence[str], title: str
) -> Iterator[tuple[Readout, np.ndarray]]:
    for index, layer in enumerate(layers):
        for pool in pools:
            vectors = vectors_of(pool, (rows.shape[2] - 4) // 3)
            yield Readout(title, layer, pool), rows[:, index, vectors].reshape(len(rows), -1)


def read_log_mel(model: AudioModel, corpus: Corpus) -> Iterator[tuple[Readout, np.ndarray]]:
    """Statistics of the log-mel of each clip, pooled as the patches are."""
    rows = stack(log_mel_statistics(model, corpus.files), len(corpus.files), LOG_MEL)
    rows = rows.reshape(len(rows), 3, -1)  # (N, 3, F)
    for pool, parts in LOG_MEL_POOLS.items():
        yield Readout(LOG_MEL, None, pool), rows[:, parts].reshape(len(rows), -1)


def summarise_sweep(found: dict[Readout, ProbeScores]) -> dict[str, Any]:
    """The part of what `sweep` returns that follows from the scores."""
    features: dict[str, dict[str, dict[str, float]]] = {}
    chosen: dict[str, dict[str, dict[str, Any]]] = {}
    for title in dict.fromkeys(readout.features for readout in found):
        own = [readout for readout in found if readout.features == title]
        features[title], chosen[title] = {}, {}
        for kind in PROBES:
            best = {
                test: max(own, key=lambda readout: found[readout].inside[kind][test])
                for test in found[own[0]].test[kind]
            }
            features[title][kind] = {test: found[readout].test[kind][test] for test, readout in best.items()}
            chosen[title][kind] = {
                test: {"layer": readout.layer, "pool": readout.pool} for test, readout in best.items()
            }
    readouts = [
        {**readout._asdict(), "scores": scores.test, "inside": scores.inside, "C": scores.strength}
        for readout, scores in found.items()
    ]
    name = next(iter(found.values())).name
    return {"score": name, "features": features, "chosen": chosen, "readouts": readouts}
