"""Judge the features of a model without finetuning: encode a data directory, and score simple classifiers on it.

Shapes: N clips, D features, F mel bins, C classes.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np
import torch
from tqdm import tqdm

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import load_clip
from maskspec_fairseq.data.clip_targets import ClipTargets
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import LABELS_FILE, Label, read_labels, read_vocabulary
from maskspec_fairseq.data_dir.manifest import list_folds, list_subsets, read_manifest
from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.inference.embed_files import EmbeddingEncoder
from maskspec_fairseq.inference.file_batches import encode_files
from maskspec_fairseq.inference.probes import ProbeScores, score_probes

Split = tuple[list[str], str]  # the subsets to fit to, and the subset to score


class Subset(NamedTuple):
    """Paths of the files (N,), bool targets (N, C) and whether they are known (N, C)."""

    files: list[str]
    target: np.ndarray
    known: np.ndarray


class Corpus(NamedTuple):
    """The clips of several subsets, one after the other.

    files, target, known: as of a `Subset`.
    subsets: name -> the numbers of its clips.
    splits: what is fitted to and what is scored.
    """

    files: list[str]
    target: np.ndarray
    known: np.ndarray
    subsets: dict[str, np.ndarray]
    splits: list[Split]

    def score(self, features: np.ndarray, inside: bool = False) -> ProbeScores:
        """`score_probes` of features (N, D)."""
        return score_probes(features, self.target, self.known, self.subsets, self.splits, inside)


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
        classes); `features`: per kind of features and kind of probe the score of each subset; and `C`: per kind of
        features, that of the linear probe of each subset, chosen inside its training part.

    Raises:
        AudioError: a clip cannot be read.
        ManifestError: a subset or its labels cannot be read.
    """
    corpus = read_corpus(data, train, test)
    count = len(corpus.files)
    features = {"embeddings": stack(embeddings_of(model, corpus.files), count, "embeddings")}
    if baselines:
        random = embeddings_of(random_weights(model), corpus.files)
        features["random encoder"] = stack(random, count, "random encoder")
        statistics = stack(log_mel_statistics(model, corpus.files), count, "log-mel")
        features["log-mel statistics"] = statistics[:, : 2 * model.network.front_end.n_mels]
    found = {title: corpus.score(rows) for title, rows in features.items()}
    return {
        "pool": model.architecture["pool"],
        "layers": model.layers,
        "score": found["embeddings"].name,
        "features": {title: scores.test for title, scores in found.items()},
        "C": {title: scores.strength for title, scores in found.items()},
    }


def read_corpus(data: str, train: Optional[Sequence[str]], test: Optional[str]) -> Corpus:
    """The clips of all subsets that are fitted to or scored; arguments and errors of `probe`."""
    splits = list_splits(data, train, test)
    vocabulary = read_vocabulary(os.path.join(data, LABELS_FILE))
    names = sorted({name for train, test in splits for name in [*train, test]})
    subsets = [read_subset(data, name, vocabulary) for name in names]
    ends = np.cumsum([len(subset.files) for subset in subsets])
    return Corpus(
        [file for subset in subsets for file in subset.files],
        np.concatenate([subset.target for subset in subsets]),
        np.concatenate([subset.known for subset in subsets]),
        {name: np.arange(end - len(subset.files), end) for name, subset, end in zip(names, subsets, ends)},
        splits,
    )


def stack(rows: Iterator[np.ndarray], count: int, title: str) -> np.ndarray:
    """The features of `count` clips, (D,) each, with a progress bar on stderr: (N, D)."""
    return np.stack(list(tqdm(rows, unit="clip", desc=title, total=count)))


def embeddings_of(model: AudioModel, files: Sequence[str]) -> Iterator[np.ndarray]:
    """The embedding of each file, float32 (E,).

    Raises:
        AudioError: a file cannot be read.
    """
    for result in encode_files(EmbeddingEncoder(model), files):
        if isinstance(result, AudioError):
            raise result
        yield result.embedding.numpy()


def read_subset(directory: str, name: str, vocabulary: Sequence[Label]) -> Subset:
    """Read a labelled subset; errors of `read_manifest` and `read_labels`."""
    manifest = read_manifest(os.path.join(directory, f"{name}.tsv"))
    labels = read_labels(os.path.join(directory, f"{name}.lbl"), vocabulary, len(manifest))
    target, known = ClipTargets(labels).stacked()
    return Subset([manifest.full_path(index) for index in range(len(manifest))], target > 0.5, known)


def list_splits(directory: str, train: Optional[Sequence[str]], test: Optional[str]) -> list[Split]:
    """The given split, or one per fold.

    Raises:
        ManifestError: there are neither, the subset to score is fitted to, or one is named twice.
    """
    if train and test:
        twice = [name for number, name in enumerate(train) if name in train[:number]]
        if twice:
            raise ManifestError(f"expected each subset of --train once, found {twice[0]} twice; name it once")
        if test in train:
            raise ManifestError(
                f"expected --test out of other subsets than --train, found {test} in both; leave it out of --train"
            )
        return [(list(train), test)]
    folds = [f"fold{number}" for number in list_folds(directory)]
    if train or test or len(folds) < 2:
        if not os.path.isdir(directory):
            raise ManifestError(f"expected a data directory, found none at {directory}; correct the path")
        given = "--train alone" if train else "--test alone" if test else "neither --train nor --test"
        raise ManifestError(
            f"{directory}: expected subsets fold1, fold2, ..., or --train SUBSET and --test SUBSET, found {given}, and "
            f"the subsets {', '.join(list_subsets(directory)) or 'none'} there; name two of the subsets"
        )
    return [([name for name in folds if name != fold], fold) for fold in folds]


def random_weights(model: AudioModel) -> AudioModel:
    """A model of the same sizes, statistics and pooling, not trained, with the same weights at each call.

    It has the labels of a finetuned model, which pools padding, too.
    """
    torch.manual_seed(1)
    other = AudioModel(model.architecture, model.clip_sec, model.channel, model.labels, layers=model.layers).eval()
    other.network.front_end.load_state_dict(model.network.front_end.state_dict())
    return other.to(model.device)


@torch.inference_mode()
def log_mel_statistics(model: AudioModel, files: Sequence[str]) -> Iterator[np.ndarray]:
    """Mean, standard deviation and maximum of every mel bin over each file, float32 (3 * F,).

    Raises:
        AudioError: a file cannot be read.
    """
    for file in files:
        waveform, num_samples = load_clip(file, model.sample_rate, channel=model.channel)
        waveform = np.pad(waveform, (0, max(0, model.column_samples - num_samples)))  # at least one column of patches
        spectrogram = model.network.front_end(torch.from_numpy(waveform)[None].to(model.device))[0]  # (F, S)
        yield torch.cat([spectrogram.mean(dim=1), spectrogram.std(dim=1), spectrogram.amax(dim=1)]).cpu().numpy()
