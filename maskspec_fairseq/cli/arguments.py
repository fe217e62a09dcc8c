"""Arguments that the programs share, and the form of their help."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from maskspec_fairseq.argument_types import WORKERS, fraction, int_at_least, layers, seconds_or_zero
from maskspec_fairseq.corpora.builder import find_audio
from maskspec_fairseq.inference.events import Detection


def make_parser(name: str, description: str, example: str) -> argparse.ArgumentParser:
    """A parser whose help ends with an example.

    Args:
        name: of the program.
        description: its first paragraph of help, usually the module's docstring.
        example: one or several commands, a line each.
    """
    lines = "".join(f"\n  {line}" for line in example.splitlines())
    return argparse.ArgumentParser(
        prog=name,
        description=description,
        epilog=f"example:{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device, by default the GPU if there is one."""
    import torch  # here and in `device`: maskspec-build, which uses the rest, starts without it

    parser.add_argument(
        "--device",
        type=device,
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="cpu, cuda, cuda:1, ... (default: %(default)s)",
    )


def add_batch_size(parser: argparse.ArgumentParser, default: int) -> None:
    """Add --batch-size for windows of files."""
    parser.add_argument(
        "--batch-size",
        type=int_at_least(1),
        default=default,
        metavar="N",
        help="windows, of any files, that are encoded together, on a CPU at most 4 (default: %(default)s)",
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add --workers."""
    parser.add_argument(
        "--workers",
        type=int_at_least(0),
        default=WORKERS,
        metavar="N",
        help="processes that load audio; 0: the program loads it itself (default: 1, with more than two cores)",
    )


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add --precision."""
    from maskspec_fairseq.inference.precision import PRECISIONS  # here, because it imports torch

    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="of matrix products; bf16 is for devices that have it, slow on others (default: %(default)s)",
    )


def add_detection(parser: argparse.ArgumentParser) -> None:
    """Add --threshold and --median-sec, by which events are made of the scores of frames."""
    defaults = Detection()
    parser.add_argument(
        "--threshold",
        type=fraction,
        metavar="P",
        help=f"score from which on a frame is part of an event (default: {defaults.threshold:g})",
    )
    parser.add_argument(
        "--median-sec",
        type=seconds_or_zero,
        metavar="S",
        help=f"s, length of the median filter over frames, 0 for none (default: {defaults.median_sec:g})",
    )


def detection_of(args: argparse.Namespace) -> Optional[Detection]:
    """What `add_detection` asks for, with the defaults for what is not given; None if neither is given."""
    named = {"threshold": args.threshold, "median_sec": args.median_sec}
    given = {name: value for name, value in named.items() if value is not None}
    return Detection(**given) if given else None


def add_readout(parser: argparse.ArgumentParser, several_pools: bool = False) -> None:
    """Add --pool and --layers, the arguments of `load_model`; with several_pools, --pool is a list."""
    from maskspec_fairseq.modules.pooling import ATTENTION, POOLS  # here, because it imports torch

    parser.add_argument(
        "--pool",
        choices=(*POOLS, ATTENTION),
        metavar="POOL",
        nargs="+" if several_pools else None,
        action="extend" if several_pools else "store",
        help=f"of the patches that hold sound: {', '.join(POOLS)}, or {ATTENTION} of a model "
        "finetuned with it (default: that of the checkpoint)",
    )
    parser.add_argument(
        "--layers",
        type=layers,
        metavar="N[,N...]",
        help="whose outputs are pooled, from 1, side by side; or all (default: the last)",
    )


def list_audio(paths: Sequence[str]) -> list[str]:
    """The files that are named; for a folder the audio files below it, sorted, as `maskspec-build folder` finds them.

    What else is in a folder is counted on stderr.

    Raises:
        ManifestError: a folder without audio, or one that cannot be read.
    """
    files = []
    for path in paths:
        if not os.path.isdir(path):
            files.append(path)
            continue
        found = [os.path.join(path, name) for name in find_audio(Path(path))]
        others = {os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names} - set(found)
        print(f"{path}: audio files: {len(found)}; other files, left out: {len(others)}", file=sys.stderr)
        files += found
    return files


def device(text: str) -> str:
    """Type of an argument: the name of a device of this machine."""
    import torch

    try:
        torch.zeros(1, device=text).item()
    except (AssertionError, RuntimeError) as error:  # torch without CUDA asserts that it has it
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise argparse.ArgumentTypeError(
            f"expected a device of this machine, found none for {text} ({reason}); use --device cpu"
        ) from None
    return text
