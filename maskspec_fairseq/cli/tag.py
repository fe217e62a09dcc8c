"""maskspec-tag: tag audio files by a finetuned model: the classes with the highest scores, or events in time."""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from typing import Any, Optional

from maskspec_fairseq.argument_types import int_at_least, seconds
from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.cli.arguments import (
    add_batch_size,
    add_detection,
    add_device,
    add_precision,
    add_workers,
    detection_of,
    list_audio,
    make_parser,
)
from maskspec_fairseq.cli.program import report_failures, run_program
from maskspec_fairseq.event_metrics import TimedEvent
from maskspec_fairseq.inference.audio_model import MAX_WINDOWS, AudioModel
from maskspec_fairseq.inference.events import Detection, table_lines
from maskspec_fairseq.inference.load import load_labelled_model
from maskspec_fairseq.inference.tagging import events_of_files, span_lines, tag_files, window_samples

EXAMPLE = """maskspec-tag dog.wav rain.mp3 --checkpoint runs/esc50/fold1/checkpoints/checkpoint_last.pt --top-k 3
maskspec-tag hour.flac --checkpoint exported/ --window 5 --hop 2.5 --format jsonl > hour.jsonl
maskspec-tag hour.flac --checkpoint runs/events/checkpoints/checkpoint_last.pt --events > hour.tsv"""


def json_line(result: dict[str, Any]) -> str:
    """A tagged span as JSON, which has no NaN: such a score is null."""
    tags = [{**tag, "score": None if math.isnan(tag["score"]) else tag["score"]} for tag in result["tags"]]
    return json.dumps({**result, "tags": tags}, allow_nan=False)


def event_line(path: str, event: TimedEvent) -> str:
    """An event as JSON; a score that is NaN is null."""
    score = None if math.isnan(event.score) else event.score
    return json.dumps(
        {"file": path, "start_sec": event.start, "end_sec": event.end, "label": event.label, "score": score}
    )


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-tag", __doc__, EXAMPLE)
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="audio of any length, rate and number of channels; or a folder of it"
    )
    parser.add_argument("--checkpoint", required=True, help="of a finetuning run, or a folder of maskspec-export")
    parser.add_argument(
        "--top-k", type=int_at_least(1), default=8, metavar="K", help="classes to print (default: %(default)s)"
    )
    parser.add_argument(
        "--window", type=seconds, metavar="S", help="s, tag windows of this length (default: the file as a whole)"
    )
    parser.add_argument("--hop", type=seconds, metavar="S", help="s from one window to the next (default: --window)")
    parser.add_argument(
        "--events",
        action="store_true",
        help="print what sounds from when to when, by a model of model.head=frames, instead of the classes of the file",
    )
    add_detection(parser)
    parser.add_argument(
        "--format",
        choices=("table", "jsonl"),
        default="table",
        help="of the output; a table of events is tab-separated, with DESED's columns (default: %(default)s)",
    )
    add_batch_size(parser, MAX_WINDOWS)
    add_workers(parser)
    add_precision(parser)
    add_device(parser)
    return parser


def run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if args.hop and not args.window:
        raise ValueError(f"expected --hop with --window, found --hop {args.hop:g} alone; add --window")
    detection = detection_of(args)
    if args.events and args.window:
        raise ValueError(f"expected --events without --window, found --window {args.window:g}; leave one of them out")
    if detection and not args.events:
        raise ValueError("expected --threshold and --median-sec with --events, found them alone; add --events")
    model = load_labelled_model(args.checkpoint).to(args.device)
    if args.events and not model.network.head_of_frames:
        raise ValueError(
            f"{args.checkpoint}: expected a model with a head of frames for --events, found one of clips; finetune one "
            "with model.head=frames (config/finetuning/events.yaml), or tag windows by --window"
        )
    windows = window_samples(model, args.window, args.hop) if args.window else None
    files = list_audio(args.files)
    if args.events:
        failed = print_events(model, files, detection or Detection(), args)
        return report_failures(parser, failed, f"{len(files)} files could not be tagged")
    failed = []
    tagged = tag_files(model, files, args.top_k, windows, args.batch_size, args.workers, args.precision)
    for path, results in zip(files, tagged):
        if isinstance(results, AudioError):
            failed.append(str(results))
            continue
        if any(math.isnan(tag["score"]) for result in results for tag in result["tags"]):
            print(f"{parser.prog}: {path}: warning: scores that are NaN; is the model damaged?", file=sys.stderr)
        for result in results:
            print(json_line(result) if args.format == "jsonl" else span_lines(result), flush=True)
    return report_failures(parser, failed, f"{len(files)} files could not be tagged")


def print_events(model: AudioModel, files: Sequence[str], detection: Detection, args: argparse.Namespace) -> list[str]:
    """Print the events of each file, when it has been read to its end.

    Returns:
        Why files could not be tagged.
    """
    failed = []
    if args.format == "table":
        print(*table_lines([], scores=True))
    found = events_of_files(model, files, detection, args.batch_size, args.workers, args.precision)
    for path, events in zip(files, found):
        if isinstance(events, AudioError):
            failed.append(str(events))
            continue
        if args.format == "jsonl":
            lines = [event_line(path, event) for event in events]
        else:
            _, *lines = table_lines([(path, event) for event in events], scores=True)
        for line in lines:
            print(line, flush=True)
    return failed


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = build_parser()
    return run_program(parser, lambda args: run(args, parser), argv)


if __name__ == "__main__":
    sys.exit(main())
