"""Write fairseq manifests: `python manifests/build.py CORPUS ... --out DATA_DIR`. Format: docs/manifests.md."""

import argparse
import sys
from pathlib import Path

try:  # an interrupt may come before main does
    import audioset
    import check
    import dcase2019_task1a
    import demo
    import esc10
    import esc50
    import folder
    import fsdd
    import hdf5
    import merge
    import openmic2018
    import pack
    import speech_commands_v2
    import stats
    from corpus import write_corpus
    from out_dir import expect_own, expect_writable

    from maskspec_fairseq.cli.arguments import fraction, seconds, whole
    from maskspec_fairseq.data.audio import AudioError
    from maskspec_fairseq.manifest import ManifestError
except KeyboardInterrupt:
    print("build.py: interrupted", file=sys.stderr)
    sys.exit(130)

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


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="CORPUS")
    for name, module in CORPORA.items():
        command = commands.add_parser(name, help=module.__doc__.splitlines()[0], description=module.__doc__)
        module.add_arguments(command)
        command.add_argument("--out", type=Path, required=True, metavar="DATA_DIR", help="where the manifests go")
        command.add_argument("--min-sec", type=seconds, default=0.05, help="shorter files are rejected (default 0.05)")
        command.add_argument(
            "--max-rejected", type=fraction, default=0.05, help="fail above this fraction of files (default 0.05)"
        )
        command.add_argument(
            "--workers", type=whole(1), default=None, help="processes that read headers (default: cores)"
        )
        command.add_argument(
            "--stats-clips",
            type=whole(0),
            default=1000,
            help="most clips of a training subset for mel_stats.json, 0 for none (default 1000)",
        )
    for name, module in TOOLS.items():
        command = commands.add_parser(name, help=module.__doc__.splitlines()[0], description=module.__doc__)
        module.add_arguments(command)
    return parser


def main() -> int:
    args = make_parser().parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")  # names of files may hold what a terminal cannot show
    try:
        if args.command in TOOLS:
            return TOOLS[args.command].run(args)
        expect_writable(args.out)
        corpus = CORPORA[args.command].collect(args)
        expect_own(args.out, corpus.subsets)
        summary, enough = write_corpus(corpus, args.out, args.min_sec, args.max_rejected, args.workers)
        training = [name for name in corpus.subsets if name not in HELD_OUT]
        if enough and training and args.stats_clips:
            enough = stats.measure(args.out, ",".join(training), clips=args.stats_clips) == 0
        print(summary)
        return 0 if enough else 1
    except (ManifestError, AudioError) as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        cure = "see that it can be read, or that DATA_DIR can be written and its disk has room"
        print(f"build.py: {where}{error.strerror or error}; {cure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("build.py: interrupted; every file in the data directory is whole", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
