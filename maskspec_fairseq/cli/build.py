"""maskspec-build: write the data directory of a corpus, manifests and statistics; also `python manifests/build.py`."""

import argparse
import io
import sys
from pathlib import Path
from typing import Optional, Sequence

try:  # an interrupt may come before main does
    from maskspec_fairseq.argument_types import fraction, int_at_least, seconds
    from maskspec_fairseq.cli.arguments import make_parser
    from maskspec_fairseq.cli.program import FAILED, run_program
    from maskspec_fairseq.corpora import (
        audioset,
        dcase2019_task1a,
        demo,
        esc10,
        esc50,
        folder,
        fsdd,
        hdf5,
        merge,
        openmic2018,
        speech_commands_v2,
    )
    from maskspec_fairseq.corpora.builder import write_corpus
    from maskspec_fairseq.corpora.output_dir import check_overwritable, check_writable
    from maskspec_fairseq.corpora.tools import check, pack, stats
except KeyboardInterrupt:
    print("maskspec-build: interrupted", file=sys.stderr)
    sys.exit(130)

EXAMPLE = """maskspec-build folder recordings/ --out data/recordings
maskspec-build check data/recordings"""
# Subsets that no run trains on; every other one's log-mel statistics are measured.
HELD_OUT = ("valid", "validation", "test", "eval", "evaluate")
CORPORA = {
    "audioset": audioset,
    "esc50": esc50,
    "dcase2019_task1a": dcase2019_task1a,
    "openmic2018": openmic2018,
    "speech_commands_v2": speech_commands_v2,
    "esc10": esc10,
    "fsdd": fsdd,
    "folder": folder,
    "hdf5": hdf5,
    "demo": demo,
    "merge": merge,
}
# What is done with a data directory that is there already.
TOOLS = {"stats": stats, "check": check, "pack": pack}


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-build", __doc__, EXAMPLE)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", help="a corpus, or a tool for a data directory"
    )
    for name, module in CORPORA.items():
        command = commands.add_parser(name, help=module.__doc__.splitlines()[0], description=module.__doc__)
        module.add_arguments(command)
        command.add_argument("--out", type=Path, required=True, metavar="DATA_DIR", help="where the manifests go")
        command.add_argument("--min-sec", type=seconds, default=0.05, help="shorter files are rejected (default 0.05)")
        command.add_argument(
            "--max-rejected", type=fraction, default=0.05, help="fail above this fraction of files (default 0.05)"
        )
        command.add_argument(
            "--workers", type=int_at_least(1), default=None, help="processes that read headers (default: cores)"
        )
        command.add_argument(
            "--stats-clips",
            type=int_at_least(0),
            default=1000,
            help="most clips of a training subset for mel_stats.json, 0 for none (default 1000)",
        )
    for name, module in TOOLS.items():
        command = commands.add_parser(name, help=module.__doc__.splitlines()[0], description=module.__doc__)
        module.add_arguments(command)
    return parser


def run(args: argparse.Namespace) -> int:
    """Build the data directory, or run the tool, that the arguments name; returns the exit code."""
    if args.command in TOOLS:
        return TOOLS[args.command].run(args)
    check_writable(args.out)
    corpus = CORPORA[args.command].collect(args)
    check_overwritable(args.out, corpus.subsets)
    summary, enough = write_corpus(corpus, args.out, args.min_sec, args.max_rejected, args.workers)
    training = [name for name in corpus.subsets if name not in HELD_OUT]
    if enough and training and args.stats_clips:
        enough = stats.measure(args.out, ",".join(training), clips=args.stats_clips) == 0
    print(summary)
    return 0 if enough else FAILED


def main(argv: Optional[Sequence[str]] = None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may hold what a terminal cannot show
    return run_program(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
