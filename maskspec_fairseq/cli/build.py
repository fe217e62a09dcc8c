"""maskspec-build: write the data directory of a corpus, manifests and statistics; also `python manifests/build.py`."""

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Optional

from maskspec_fairseq.argument_types import fraction, int_at_least, output_path, seconds
from maskspec_fairseq.atomic_write import check_writable
from maskspec_fairseq.audio import MIN_RATE
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
    parquet,
    segments,
    speech_commands_v2,
    table,
    tar,
)
from maskspec_fairseq.corpora.builder import write_corpus
from maskspec_fairseq.corpora.output_dir import check_overwritable
from maskspec_fairseq.corpora.tools import check, pack, resample, stats

EXAMPLE = """maskspec-build folder recordings/ --out data/recordings
maskspec-build check data/recordings"""
# Subsets that are not for training; the log-mel statistics of all others are measured.
HELD_OUT = ("valid", "validation", "test", "eval", "evaluate")
# A new corpus is a module in corpora/ and a line here, see docs/manifests.md.
CORPORA: dict[str, ModuleType] = {
    "audioset": audioset,
    "esc50": esc50,
    "dcase2019_task1a": dcase2019_task1a,
    "openmic2018": openmic2018,
    "speech_commands_v2": speech_commands_v2,
    "esc10": esc10,
    "fsdd": fsdd,
    "folder": folder,
    "csv": table,
    "segments": segments,
    "hdf5": hdf5,
    "tar": tar,
    "parquet": parquet,
    "demo": demo,
    "merge": merge,
}
# What works on data directories, or on corpora, that exist.
TOOLS: dict[str, ModuleType] = {"stats": stats, "check": check, "pack": pack, "resample": resample}


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-build", __doc__ or "", EXAMPLE)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", help="a corpus, or a tool for a data directory or a corpus"
    )
    for name, module in {**CORPORA, **TOOLS}.items():
        description = module.__doc__ or ""
        command = commands.add_parser(
            name,
            help=description.partition("\n")[0],
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        if name in CORPORA:
            add_build_arguments(command)
    return parser


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that all corpora have in common."""
    parser.add_argument("--out", type=output_path, required=True, metavar="DATA_DIR", help="where the manifests go")
    parser.add_argument("--min-sec", type=seconds, default=0.05, help="reject shorter files (default: 0.05)")
    parser.add_argument(
        "--min-rate",
        type=int_at_least(MIN_RATE),
        default=MIN_RATE,
        help=f"reject files of a lower sample rate, Hz (default: {MIN_RATE})",
    )
    parser.add_argument(
        "--max-rejected",
        type=fraction,
        default=0.05,
        help="fail above this fraction of rejected files, but not for a single one unless it is 0 (default: 0.05)",
    )
    parser.add_argument(
        "--workers", type=int_at_least(1), default=None, help="processes that read headers (default: cores)"
    )
    parser.add_argument(
        "--stats-clips",
        type=int_at_least(0),
        default=1000,
        help="clips per training subset to measure for mel_stats.json, at most; 0 for none (default: 1000)",
    )


def run(args: argparse.Namespace) -> int:
    """Build the data directory, or run the tool, that the arguments name.

    Returns:
        The exit code.
    """
    if args.command in TOOLS:
        return TOOLS[args.command].run(args)
    check_writable(args.out)
    corpus = CORPORA[args.command].collect(args)
    check_overwritable(args.out, corpus.subsets)
    summary, enough = write_corpus(corpus, args.out, args.min_sec, args.min_rate, args.max_rejected, args.workers)
    training = [name for name in corpus.subsets if name not in HELD_OUT]
    if enough and training and args.stats_clips:
        subsets = ",".join(training)
        try:
            enough = stats.measure(args.out, subsets, clips=args.stats_clips) == 0
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"the manifests in {args.out} are complete, the statistics are missing; "
                f"measure them by `maskspec-build stats {args.out} --subset {subsets} --clips {args.stats_clips}`"
            ) from None
    print(summary)
    return 0 if enough else FAILED


def main(argv: Optional[Sequence[str]] = None) -> int:
    return run_program(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
