"""Processes that are forked from one that has imported fairseq already, which takes seconds.

The plugin is not imported there: each run imports it from `common.user_dir`, as every run of a user does.
"""

import atexit
import importlib
import multiprocessing
import os
import signal
import sys
import warnings
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Callable, Optional

REPOSITORY = Path(__file__).resolve().parents[2]  # not from tests.factories, which imports the plugin

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    ["fairseq_cli.hydra_train", "torch._dynamo", "soundfile", "soxr", "torchaudio", "scipy.special", "sklearn.metrics"]
)


class ForkedProcess:
    """A function in a process that has imported fairseq and not the plugin, with what `subprocess.Popen` has.

    Args:
        output: path of the file or terminal that the process prints to.
        function: of a module that can be imported, as are its arguments to be pickled.
    """

    def __init__(self, output: str, function: Callable[..., None], *arguments: Any) -> None:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the server, and so for all that it forks
        self._process: BaseProcess = _server.Process(target=_run, args=(output, function, *arguments))
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> Optional[int]:
        """The exit code, None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float = 300) -> int:
        """The exit code, once it has ended.

        Raises:
            TimeoutError: it still runs after so many seconds.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutError(f"expected a process to end within {timeout} s, found it still running")
        return self._process.exitcode

    def kill(self) -> None:
        """SIGKILL the process and those that it has started, if it still runs."""
        if self._process.is_alive():
            os.killpg(self.pid, signal.SIGKILL)
            self._process.join()


def training_process(output: str, arguments: list[str]) -> ForkedProcess:
    """Start fairseq-hydra-train with these arguments."""
    return ForkedProcess(output, hydra_train, arguments)


def hydra_train(arguments: list[str]) -> None:
    """fairseq-hydra-train in this process, from the root of the repository."""
    from fairseq_cli.hydra_train import cli_main

    os.chdir(REPOSITORY)
    sys.argv = ["fairseq-hydra-train", *arguments]
    cli_main()


def fairseq_program(program: str, arguments: list[str]) -> None:
    """`train`, `validate` (argparse) or `hydra_validate` of fairseq_cli in this process, from the repository's root."""
    os.chdir(REPOSITORY)
    sys.argv = [program, *arguments]
    importlib.import_module(f"fairseq_cli.{program}").cli_main()


def _run(output: str, function: Callable[..., None], *arguments: Any) -> None:
    os.setsid()
    for stream in (1, 2):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY, 0o600), stream)
    warnings.simplefilter("ignore")
    multiprocessing.set_start_method(None, force=True)  # loader processes are not to come from a server, too
    try:
        function(*arguments)
    finally:
        atexit._run_exitfuncs()  # tensorboard writes its last there; multiprocessing ends a process without it
