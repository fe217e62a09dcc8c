"""maskspec-probe: what frozen embeddings are worth, by a linear classifier and by nearest neighbours, in seconds."""

import argparse
import json
import os
import statistics
import sys
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch
from tqdm import tqdm

from maskspec_fairseq.atomic_write import write_together
from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import load_clip
from maskspec_fairseq.cli.arguments import add_device, make_parser
from maskspec_fairseq.data.clip_targets import ClipTargets
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import LABELS_FILE, Label, read_labels, read_vocabulary
from maskspec_fairseq.data_dir.manifest import list_folds, read_manifest
from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.inference.embed_files import embed_file
from maskspec_fairseq.inference.load import load_model
from maskspec_fairseq.inference.probes import PROBES
from maskspec_fairseq.metrics import summarise

EXAMPLE = """maskspec-probe --checkpoint runs/esc10_tiny/checkpoints/checkpoint_last.pt --data data/esc10 --baselines
maskspec-probe --checkpoint CHECKPOINT --data data/speech_commands_v2 --train train --test validation"""


class Subset(NamedTuple):
    """Files (N,), bool targets (N, C) and whether they are known (N, C)."""

    files: List[str]
    target: np.ndarray
    known: np.ndarray


def read_subset(directory: str, name: str, vocabulary: Sequence[Label]) -> Subset:
    """A labelled subset; errors of the readers in `manifest.py`."""
    manifest = read_manifest(os.path.join(directory, f"{name}.tsv"))
    labels = read_labels(os.path.join(directory, f"{name}.lbl"), vocabulary, len(manifest))
    target, known = ClipTargets(labels).stacked()
    return Subset([manifest.full_path(index) for index in range(len(manifest))], target > 0.5, known)


def splits_of(directory: str, train: Optional[Sequence[str]], test: Optional[str]) -> List[Tuple[List[str], str]]:
    """(subsets to fit to, subset to score) for every fold, or the one that is asked for.

    Raises:
        ManifestError: neither is there.
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
    """A model of the same shape and with the same statistics whose encoder has learned nothing."""
    torch.manual_seed(1)
    other = AudioModel(model.architecture, model.clip_sec, model.channel).eval()
    other.network.front_end.load_state_dict(model.network.front_end.state_dict())
    return other.to(model.network.front_end.mel_mean.device)


@torch.inference_mode()
def log_mel_statistics(model: AudioModel, file: str) -> np.ndarray:
    """Mean and deviation of every mel bin over a clip, (2 * F,)."""
    front_end = model.network.front_end
    waveform, num_samples = load_clip(file, model.sample_rate, channel=model.channel)
    waveform = np.pad(waveform, (0, max(0, model.column_samples - num_samples)))
    spectrogram = front_end(torch.from_numpy(waveform)[None].to(front_end.mel_mean.device))[0]
    return torch.cat([spectrogram.mean(dim=1), spectrogram.std(dim=1)]).cpu().numpy()


def probe(args: argparse.Namespace) -> Dict[str, Any]:
    """Embed, fit and score; returns what --out holds."""
    model = load_model(args.checkpoint).to(args.device)
    splits = splits_of(args.data, args.train, args.test)
    names = sorted({name for train, test in splits for name in [*train, test]})
    vocabulary = read_vocabulary(os.path.join(args.data, LABELS_FILE))
    subsets = {name: read_subset(args.data, name, vocabulary) for name in names}
    target_is_multilabel = any(
        (subset.target.sum(axis=1) != 1).any() or not subset.known.all() for subset in subsets.values()
    )
    features: Dict[str, Callable[[str], np.ndarray]] = {"embeddings": lambda file: embed_file(model, file).embedding}
    if args.baselines:
        untrained = random_weights(model)
        features["random encoder"] = lambda file: embed_file(untrained, file).embedding
        features["log-mel statistics"] = lambda file: log_mel_statistics(model, file)
    result: Dict[str, Any] = {"checkpoint": args.checkpoint, "data": args.data, "score": "", "features": {}}
    for title, embed in features.items():
        rows = {
            name: np.stack([embed(file) for file in tqdm(subset.files, unit="clip", desc=f"{title}, {name}")])
            for name, subset in subsets.items()
        }
        result["features"][title] = {}
        for kind, fit in PROBES.items():
            scores = {}
            for train, test in splits:
                predicted = fit(
                    np.concatenate([rows[name] for name in train]),
                    np.concatenate([subsets[name].target for name in train]),
                    np.concatenate([subsets[name].known for name in train]),
                    target_is_multilabel,
                    rows[test],
                )
                figures = summarise(predicted, subsets[test].target, subsets[test].known, target_is_multilabel)
                result["score"], scores[test] = next(iter(figures.items()))
            result["features"][title][kind] = scores
    return result


def table(result: Dict[str, Any]) -> str:
    """What is shown on the screen: a line for each kind of features and of probe, with the mean over the folds."""
    lines = []
    for title, kinds in result["features"].items():
        for kind, scores in kinds.items():
            values = list(scores.values())
            line = f"{title:<20} {kind:<7} {result['score']} {statistics.mean(values):.4f}"
            if len(values) > 1:
                line += f" +- {statistics.stdev(values):.4f}"
            lines.append(line + "   " + "  ".join(f"{name} {value:.4f}" for name, value in scores.items()))
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-probe", __doc__, EXAMPLE)
    parser.add_argument("--checkpoint", required=True, help="of a run, a running one's too, or an exported folder")
    parser.add_argument("--data", required=True, metavar="DATA_DIR", help="with labels")
    parser.add_argument("--train", nargs="+", metavar="SUBSET", help="to fit to (default: all folds but one, in turn)")
    parser.add_argument("--test", metavar="SUBSET", help="to score (default: the fold left out)")
    parser.add_argument(
        "--baselines", action="store_true", help="also an encoder of random weights, and statistics of the log-mel"
    )
    add_device(parser)
    parser.add_argument("--out", metavar="FILE", help="JSON with every figure (default: none)")
    return parser


def main(argv: Optional[list] = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        result = probe(args)
        if args.out:
            directory, name = os.path.split(os.path.abspath(args.out))
            write_together(directory, {name: lambda path: path.write_text(json.dumps(result, indent=1) + "\n")})
    except (AudioError, ManifestError, OSError, ValueError) as error:
        print(f"maskspec-probe: {error}", file=sys.stderr)
        return 2
    print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
