"""Judge the features of a model without finetuning: encode a data directory, and score simple classifiers on it.

Shapes: N clips, D features, F mel bins, C classes.
"""

import os
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple, Optional

import numpy as np
import torch
from tqdm import tqdm

from maskspec_fairseq.audio.read import load_clip
from maskspec_fairseq.data.clip_targets import ClipTargets
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import LABELS_FILE, Label, read_labels, read_vocabulary
from maskspec_fairseq.data_dir.manifest import list_folds, read_manifest
from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.inference.embed_files import embed_file
from maskspec_fairseq.inference.probes import PROBES
from maskspec_fairseq.metrics import summarise

Split = tuple[list[str], str]  # the subsets to fit to, and the subset to score


class Subset(NamedTuple):
    """Paths of the files (N,), bool targets (N, C) and whether they are known (N, C)."""

    files: list[str]
    target: np.ndarray
    known: np.ndarray


def probe(
    model: AudioModel,
    data: str,
    train: Optional[Sequence[str]] = None,
    test: Optional[str] = None,
    baselines: bool = False,
) -> dict[str, Any]:
    """Encode the clips, fit the classifiers of `PROBES`, and score them.

    Args:
        model: on the device that it shall compute on.
        data: a labelled data directory.
        train: subsets to fit to; all folds but one, in turn, if None.
        test: subset to score; the fold that was left out if None.
        baselines: also probe an encoder of random weights and the statistics of the log-mel.

    Returns:
        `pool` and `layers` of the embeddings; `score`, the name of the score (accuracy, or mAP if clips have several
        classes); and `features`: per kind of features and kind of probe the score of each subset.

    Raises:
        AudioError: a clip cannot be read.
        ManifestError: a subset or its labels cannot be read.
    """
    splits = list_splits(data, train, test)
    names = sorted({name for train, test in splits for name in [*train, test]})
    vocabulary = read_vocabulary(os.path.join(data, LABELS_FILE))
    subsets = {name: read_subset(data, name, vocabulary) for name in names}

    def embeddings_of(model: AudioModel) -> Callable[[str], np.ndarray]:
        return lambda file: embed_file(model, file).embedding.numpy()

    encoders = {"embeddings": embeddings_of(model)}
    if baselines:
        encoders["random encoder"] = embeddings_of(random_weights(model))
        encoders["log-mel statistics"] = lambda file: log_mel_statistics(model, file)
    result: dict[str, Any] = {"pool": model.architecture["pool"], "layers": model.layers, "score": "", "features": {}}
    for title, encode in encoders.items():
        rows = {
            name: np.stack([encode(file) for file in tqdm(subset.files, unit="clip", desc=f"{title}, {name}")])
            for name, subset in subsets.items()
        }
        result["score"], result["features"][title] = score_probes(rows, subsets, splits)
    return result


def score_probes(
    features: dict[str, np.ndarray], subsets: dict[str, Subset], splits: Sequence[Split]
) -> tuple[str, dict[str, dict[str, float]]]:
    """Fit and score each kind of probe on each split.

    Args:
        features: per subset, (N, D).
        subsets: with the targets of the same clips.
        splits: what to fit to and what to score.

    Returns:
        The name of the score, and per kind of probe the score of each subset.
    """
    target_is_multilabel = any(
        (part.target.sum(axis=1) != 1).any() or not part.known.all() for part in subsets.values()
    )
    score = ""
    result: dict[str, dict[str, float]] = {kind: {} for kind in PROBES}
    for kind, fit in PROBES.items():
        for train, test in splits:
            predicted = fit(
                np.concatenate([features[name] for name in train]),
                np.concatenate([subsets[name].target for name in train]),
                np.concatenate([subsets[name].known for name in train]),
                target_is_multilabel,
                features[test],
            )
            scores, _ = summarise(predicted, subsets[test].target, subsets[test].known, target_is_multilabel)
            score, result[kind][test] = next(iter(scores.items()))
    return score, result


def read_subset(directory: str, name: str, vocabulary: Sequence[Label]) -> Subset:
    """Read a labelled subset; errors of `read_manifest` and `read_labels`."""
    manifest = read_manifest(os.path.join(directory, f"{name}.tsv"))
    labels = read_labels(os.path.join(directory, f"{name}.lbl"), vocabulary, len(manifest))
    target, known = ClipTargets(labels).stacked()
    return Subset([manifest.full_path(index) for index in range(len(manifest))], target > 0.5, known)


def list_splits(directory: str, train: Optional[Sequence[str]], test: Optional[str]) -> list[Split]:
    """The given split, or one per fold.

    Raises:
        ManifestError: there are neither.
    """
    if train and test:
        return [(list(train), test)]
    folds = [f"fold{number}" for number in list_folds(directory)]
    if train or test or len(folds) < 2:
        raise ManifestError(
            f"{directory}: expected subsets fold1, fold2, ..., or --train SUBSET and --test SUBSET, found {len(folds)} "
            f"folds, --train {train} and --test {test}"
        )
    return [([name for name in folds if name != fold], fold) for fold in folds]


def random_weights(model: AudioModel) -> AudioModel:
    """A model of the same sizes, statistics and pooling, not trained, with the same weights at each call."""
    torch.manual_seed(1)
    other = AudioModel(model.architecture, model.clip_sec, model.channel, layers=model.layers).eval()
    other.network.front_end.load_state_dict(model.network.front_end.state_dict())
    return other.to(model.device)


@torch.inference_mode()
def log_mel_statistics(model: AudioModel, file: str) -> np.ndarray:
    """Mean and standard deviation of every mel bin over a clip, (2 * F,)."""
    waveform, num_samples = load_clip(file, model.sample_rate, channel=model.channel)
    waveform = np.pad(waveform, (0, max(0, model.column_samples - num_samples)))  # at least one column of patches
    spectrogram = model.network.front_end(torch.from_numpy(waveform)[None].to(model.device))[0]  # (F, S)
    return torch.cat([spectrogram.mean(dim=1), spectrogram.std(dim=1)]).cpu().numpy()
