"""maskspec-tag: what is to be heard in files, by a finetuned model: the likeliest classes with their scores."""

import argparse
import json
import sys
from typing import Any, Dict, Iterable, Iterator, List, Optional

import torch

from maskspec_fairseq.argument_types import int_at_least, seconds
from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import clip_samples
from maskspec_fairseq.cli.arguments import add_batch_size, add_device, exit_code, make_parser
from maskspec_fairseq.inference.audio_model import MAX_WINDOWS, AudioModel
from maskspec_fairseq.inference.embed_files import Span, embed_file, embed_spans
from maskspec_fairseq.inference.load import load_model

EXAMPLE = """maskspec-tag dog.wav rain.mp3 --checkpoint runs/esc50/fold1/checkpoints/checkpoint_last.pt --top-k 3
maskspec-tag hour.flac --checkpoint exported/ --window 5 --hop 2.5 --format jsonl > hour.jsonl"""


def load_tagger(path: str) -> AudioModel:
    """A model with labels; errors of `load_model`.

    Raises:
        ValueError: a model without.
    """
    model = load_model(path)
    if not model.labels:
        raise ValueError(
            f"{path}: expected a model with labels, found one without, as pretraining leaves it; finetune it "
            "(config/finetuning), or use maskspec-embed, which needs none"
        )
    return model


def window_samples(model: AudioModel, window_sec: float, hop_sec: Optional[float]) -> List[int]:
    """Samples of a window and from one to the next.

    Raises:
        ValueError: windows with gaps between them, or less than a sample.
    """
    hop_sec = window_sec if hop_sec is None else hop_sec
    if hop_sec > window_sec:
        raise ValueError(
            f"expected --hop up to the {window_sec:g} s of --window, found {hop_sec:g}: what lies between two windows "
            "would not be heard"
        )
    samples = [clip_samples(length, model.sample_rate) for length in (window_sec, hop_sec)]
    if not all(samples):
        raise ValueError(
            f"expected --window and --hop of a sample at {model.sample_rate} Hz at least, found {window_sec:g} and "
            f"{hop_sec:g} s"
        )
    return samples


def tag_spans(model: AudioModel, path: str, spans: Iterable[Span], top_k: int) -> Iterator[Dict[str, Any]]:
    """What a line of JSON holds, for every span of a file."""
    for span in spans:
        with torch.inference_mode():
            logits = model.network.head(span.embedding.to(model.network.head.weight.device))
            scores = model.scores(logits).cpu()
        order = scores.argsort(descending=True, stable=True)[:top_k].tolist()
        tags = [
            {"key": model.labels[n].key, "name": model.labels[n].name, "score": round(scores[n].item(), 6)}
            for n in order
        ]
        start_sec, end_sec = round(span.start_sec, 6), round(span.end_sec, 6)
        yield {"file": path, "start_sec": start_sec, "end_sec": end_sec, "tags": tags}


def table(result: Dict[str, Any]) -> str:
    """A span for people: a line for it, and one for every tag."""
    lines = [f"{result['file']}  {result['start_sec']:.2f} to {result['end_sec']:.2f} s"]
    for tag in result["tags"]:
        key = "" if tag["key"] == tag["name"] else f"  ({tag['key']})"
        lines.append(f"  {tag['score']:8.4f}  {tag['name']}{key}")
    return "\n".join(lines)


def tag(args: argparse.Namespace) -> List[str]:
    """Tag and print, file by file; returns why the failed ones failed."""
    model = load_tagger(args.checkpoint).to(args.device)
    sizes = window_samples(model, args.window, args.hop) if args.window else None
    failed = []
    for path in args.files:
        try:
            if sizes:
                spans = embed_spans(model, path, *sizes, args.batch_size)
            else:
                spans = [embed_file(model, path, args.batch_size)]
            results = list(tag_spans(model, path, spans, args.top_k))
        except AudioError as error:
            failed.append(str(error))
            continue
        for result in results:
            print(json.dumps(result) if args.format == "jsonl" else table(result), flush=True)
    return failed


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-tag", __doc__, EXAMPLE)
    parser.add_argument("files", nargs="+", metavar="FILE", help="audio of any length, rate and number of channels")
    parser.add_argument("--checkpoint", required=True, help="of a finetuning run, or a folder of maskspec-export")
    parser.add_argument(
        "--top-k", type=int_at_least(1), default=8, metavar="K", help="classes shown (default: %(default)s)"
    )
    parser.add_argument(
        "--window", type=seconds, metavar="S", help="s, tag windows of this length (default: the file as a whole)"
    )
    parser.add_argument("--hop", type=seconds, metavar="S", help="s from one window to the next (default: --window)")
    parser.add_argument("--format", choices=("table", "jsonl"), default="table", help="(default: %(default)s)")
    add_batch_size(parser, MAX_WINDOWS)
    add_device(parser)
    return parser


def main(argv: Optional[list] = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.hop and not args.window:
        parser.error("--hop needs --window")
    try:
        failed = tag(args)
    except (OSError, ValueError) as error:
        print(f"maskspec-tag: {error}", file=sys.stderr)
        return 2
    return exit_code(parser, failed, f"{len(args.files)} files could not be tagged")


if __name__ == "__main__":
    sys.exit(main())
