"""How every program runs, and how it fails: one line on stderr that names the program, and exit code 2."""

import argparse
import io
import os
import select
import signal
import sys
from collections.abc import Sequence
from typing import Callable, Optional

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.data_dir import ManifestError

FAILED = 2  # as argparse has it for arguments
INTERRUPTED = 128 + signal.SIGINT  # as shells have it for Ctrl-C
UNREAD = 128 + signal.SIGPIPE  # as shells have it for a program whose output nobody reads any more


def run_program(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], Optional[int]],
    argv: Optional[Sequence[str]] = None,
    intermixed: bool = False,
) -> int:
    """Parse the arguments and run the program; report a failure that users can cure in one line, without a traceback.

    What the terminal's encoding does not have, such as the name of a file, is printed escaped.

    Args:
        parser: of the program.
        run: does what the arguments say, and returns the exit code, None for 0. A `KeyboardInterrupt` with a message
            says what is done so far and how to continue.
        argv: the arguments; those of the process if None.
        intermixed: whether options may stand between positional arguments; not with subparsers.

    Returns:
        The exit code: 0, 2 after a failure, 130 after Ctrl-C, 141 if who read the output, such as `head`, has ended, or
        what `run` returns.
    """
    sys.excepthook = sys.__excepthook__  # the one of `cli/__init__.py` is for the imports
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    args = parser.parse_intermixed_args(argv) if intermixed else parser.parse_args(argv)
    try:
        code = run(args) or 0
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as interrupt:
        state = str(interrupt) or "no file was left incomplete; the same command starts again"
        print(f"{parser.prog}: interrupted; {state}", file=sys.stderr)
        return INTERRUPTED
    except (RuntimeError, ConnectionResetError) as error:  # the latter where the process was sending a batch
        if isinstance(error, RuntimeError) and not str(error).startswith("DataLoader worker"):
            raise
        reason = (str(error) or repr(error)).splitlines()[0]
        print(
            f"{parser.prog}: expected the processes that load audio to live, found that one was ended ({reason}); "
            "was the memory full? The same command starts again, with fewer --workers",
            file=sys.stderr,
        )
        return FAILED
    except (AudioError, ManifestError, ImportError, OSError, ValueError) as error:
        if isinstance(error, BrokenPipeError) and _output_is_closed():
            return UNREAD
        print(f"{parser.prog}: {message_of(error)}", file=sys.stderr)
        return FAILED


def _output_is_closed() -> bool:
    """Whether nobody reads stdout any more; if so, it goes nowhere from now on, and the interpreter's end is quiet."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    closed = any(event & select.POLLERR for _, event in poll.poll(0))
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return closed


def message_of(error: Exception) -> str:
    """The message that users get for an error."""
    if isinstance(error, AudioError):
        return str(error).rpartition("AudioError: ")[2].strip()  # a loader process puts its traceback in front
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; check the path, its permissions, and the room on its disk"
    return str(error)


def report_failures(parser: argparse.ArgumentParser, failed: Sequence[str], what: str) -> int:
    """The exit code of a program that handles many items: 0, or 2 if some failed, which are listed on stderr.

    Args:
        parser: of the program.
        failed: why each of them failed.
        what: the end of the headline, such as "6 files could not be tagged".
    """
    if not failed:
        return 0
    print(f"{parser.prog}: {len(failed)} of {what}:", *(f"  {reason}" for reason in failed), sep="\n", file=sys.stderr)
    return FAILED
