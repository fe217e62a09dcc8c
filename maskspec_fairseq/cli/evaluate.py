"""maskspec-evaluate: score finetuned checkpoints on a subset, one or several of them by the mean of their logits."""

import argparse
import csv
import json
import math
import os
import sys
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from maskspec_fairseq.argument_types import int_at_least, seconds
from maskspec_fairseq.atomic_write import PathLike, write_together
from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import clip_samples
from maskspec_fairseq.checkpoints.read import load_classifier
from maskspec_fairseq.cli.arguments import make_parser
from maskspec_fairseq.data.clip_targets import ClipTargets
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import LABELS_FILE, Label, read_subset_labels, read_vocabulary
from maskspec_fairseq.data_dir.manifest import Manifest, num_rejected, read_manifest
from maskspec_fairseq.inference.clip_windows import WindowedClips
from maskspec_fairseq.metrics import class_recalls, multilabel_scores, summarise
from maskspec_fairseq.plots import draw_class_scores, draw_confusion

EXAMPLE = (
    "maskspec-evaluate --checkpoint runs/esc50/fold1/checkpoints/checkpoint_last.pt --data data/esc50 --subset fold1"
)
MAX_CONFUSION_CLASSES = 60


@torch.inference_mode()
def predict(
    checkpoint: str, manifest: Manifest, hop_sec: Optional[float], batch_size: int, workers: int, device: str
) -> np.ndarray:
    """Logits of every clip by one checkpoint, float32 (N, C): the mean over windows of the length that it is for."""
    model, cfg = load_classifier(checkpoint)
    model.to(device)
    task = cfg["task"]
    size = clip_samples(task["clip_sec"], task["sample_rate"])
    hop = size if hop_sec is None else clip_samples(hop_sec, task["sample_rate"])
    if hop > size:
        raise ValueError(
            f"expected --hop-sec up to the {task['clip_sec']} s of {checkpoint}, found {hop_sec}: "
            "what lies between two windows would not be heard"
        )
    clips = WindowedClips(manifest, task["sample_rate"], task["channel"], size, hop)
    loader = DataLoader(clips, batch_size=None, num_workers=workers)
    logits = np.zeros((len(manifest), cfg["model"]["num_classes"]), dtype=np.float32)
    counts = np.zeros(len(manifest), dtype=np.int64)
    with tqdm(total=len(manifest), unit="clip", desc=os.path.basename(checkpoint), file=sys.stderr) as bar:
        for owners, batch in batches(loader, batch_size):
            output = model(batch.to(device)).float().cpu().numpy()
            np.add.at(logits, owners, output)
            np.add.at(counts, owners, 1)
            bar.update(int(owners[-1]) + 1 - bar.n)
    return logits / counts[:, None]


def batches(loader: DataLoader, batch_size: int) -> Iterator[Tuple[np.ndarray, torch.Tensor]]:
    """Windows of consecutive clips together: the clips that they are of, (B,), and float32 (B, W)."""
    owners: List[int] = []
    parts: List[torch.Tensor] = []
    for index, clip in enumerate(loader):
        for window in torch.as_tensor(clip):
            owners.append(index)
            parts.append(window)
            if len(parts) == batch_size:
                yield np.array(owners), torch.stack(parts)
                owners, parts = [], []
    if parts:
        yield np.array(owners), torch.stack(parts)


def same_task(checkpoints: Sequence[str], vocabulary: Sequence[Label], directory: str) -> bool:
    """Whether clips have several classes, by all of the checkpoints.

    Raises:
        ValueError: a checkpoint whose classes are not those of the data, or checkpoints of both kinds.
    """
    kinds = set()
    for path in checkpoints:
        _, cfg = load_classifier(path)
        keys, expected = list(cfg["model"]["label_keys"]), [label.key for label in vocabulary]
        if keys != expected:
            first = next(
                (i for i, pair in enumerate(zip(keys, expected)) if pair[0] != pair[1]), min(len(keys), len(expected))
            )
            raise ValueError(
                f"{path}: expected the {len(expected)} classes of {directory}/{LABELS_FILE} in their order, found "
                f"{len(keys)}, other ones from number {first} on; evaluate on the data that it was trained for"
            )
        kinds.add(bool(cfg["task"]["target_is_multilabel"]))
    if len(kinds) > 1:
        raise ValueError("expected checkpoints of one task, found some for one class a clip and some for several")
    return kinds.pop()


def evaluate(args: argparse.Namespace) -> Dict[str, Any]:
    """Predict, score and write; returns what `scores.json` holds."""
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"expected a GPU for --device {args.device}, found none; use --device cpu")
    manifest = read_manifest(os.path.join(args.data, f"{args.subset}.tsv"))
    vocabulary = read_vocabulary(os.path.join(args.data, LABELS_FILE))
    target_is_multilabel = same_task(args.checkpoint, vocabulary, args.data)
    targets = ClipTargets(read_subset_labels(args.data, args.subset, vocabulary, len(manifest), target_is_multilabel))
    target, known = targets.stacked()
    logits = np.mean(
        [predict(path, manifest, args.hop_sec, args.batch_size, args.workers, args.device) for path in args.checkpoint],
        axis=0,
        dtype=np.float32,
    )
    scores = summarise(logits, target > 0.5, known, target_is_multilabel)
    listed = len(manifest) + num_rejected(os.path.join(args.data, f"{args.subset}.rejected.tsv"))
    if target_is_multilabel:
        classes = multilabel_scores(logits, target > 0.5, known).average_precision
    else:
        classes = class_recalls(logits, target.argmax(axis=1))
    result = {
        "checkpoints": list(args.checkpoint),
        "data": args.data,
        "subset": args.subset,
        "clips": len(manifest),
        "clips_listed": listed,
        "scores": scores,
        "class_score": "average precision" if target_is_multilabel else "recall",
        "classes": {label.key: None if np.isnan(value) else float(value) for label, value in zip(vocabulary, classes)},
    }
    if args.out:
        os.makedirs(args.out, exist_ok=True)
        write_together(args.out, {"scores.json": lambda path: write_scores(path, result)})
        write_predictions(os.path.join(args.out, "predictions.csv"), manifest, vocabulary, targets, logits)
        names = [label.name for label in vocabulary]
        if target_is_multilabel or len(names) > MAX_CONFUSION_CLASSES:
            draw_class_scores(classes, names, result["class_score"], os.path.join(args.out, "classes.png"))
        else:
            draw_confusion(target.argmax(1), logits.argmax(1), names, os.path.join(args.out, "confusion.png"))
    return result


def write_scores(path: PathLike, result: Dict[str, Any]) -> None:
    """JSON, in which a number that is none (d' of a perfect AUC, say) is null."""
    scores = {name: value if math.isfinite(value) else None for name, value in result["scores"].items()}
    with open(path, "w", encoding="utf-8") as stream:
        json.dump({**result, "scores": scores}, stream, indent=1, ensure_ascii=False, allow_nan=False)
        stream.write("\n")


def write_predictions(
    path: str, manifest: Manifest, vocabulary: Sequence[Label], targets: ClipTargets, logits: np.ndarray
) -> None:
    """A line a clip: path, its classes, the class of the highest logit, and all logits."""
    keys = [label.key for label in vocabulary]
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["path", "labels", "predicted", *keys])
        for name, present, row in zip(manifest.paths, targets.present(), logits):
            labels = " ".join(keys[index] for index in present)
            writer.writerow([name, labels, keys[int(row.argmax())], *(f"{value:.4f}" for value in row)])


def table(result: Dict[str, Any]) -> str:
    """What is shown on the screen."""
    lines = [f"{name:<20} {value:8.4f}" for name, value in result["scores"].items()]
    scored = sorted((value, key) for key, value in result["classes"].items() if value is not None)
    skipped = len(result["classes"]) - len(scored)
    lines.append(f"{result['class_score']} of classes: " + ", ".join(f"{key} {value:.3f}" for value, key in scored[:3]))
    lines[-1] += " ... " + ", ".join(f"{key} {value:.3f}" for value, key in scored[-3:])
    if skipped:
        lines.append(f"{skipped} of {len(result['classes'])} classes have no clip here and are left out of the means")
    lines.append(f"{result['subset']}: scored {result['clips']} of {result['clips_listed']} clips")
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-evaluate", __doc__, EXAMPLE)
    parser.add_argument(
        "--checkpoint", nargs="+", required=True, help="of finetuning runs; each uses its own task.channel"
    )
    parser.add_argument("--data", required=True, metavar="DATA_DIR", help="of manifests/build.py")
    parser.add_argument("--subset", required=True, help="a manifest of DATA_DIR, eval say")
    parser.add_argument("--hop-sec", type=seconds, help="s from window to window (default: the model's length)")
    parser.add_argument("--batch-size", type=int_at_least(1), default=32, help="windows (default 32)")
    parser.add_argument("--workers", type=int_at_least(0), default=1, help="processes that load (default 1)")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(default here: %(default)s)"
    )
    parser.add_argument("--out", help="directory for scores.json, predictions.csv and a picture (default: none)")
    return parser


def main(argv: Optional[list] = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        result = evaluate(args)
    except AudioError as error:
        message = str(error).rpartition("AudioError: ")[2].strip()  # a loader process puts its traceback before it
        print(f"maskspec-evaluate: {message}", file=sys.stderr)
        return 1
    except (ManifestError, OSError, ValueError) as error:
        print(f"maskspec-evaluate: {error}", file=sys.stderr)
        return 1
    print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
