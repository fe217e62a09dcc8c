"""The programs. Ctrl-C during their imports, which take seconds, ends them in one line instead of a traceback.

Next to other busy processes, threads that spin while they wait for each other take the cores from those they wait for.
So the threads of the programs sleep instead. OpenMP reads this when torch is loaded; what the user has set stays.
"""

import os
import signal
import sys
from types import TracebackType
from typing import Optional


def report_interrupt(kind: type[BaseException], error: BaseException, traceback: Optional[TracebackType]) -> None:
    """`sys.excepthook` of the programs."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    print("interrupted before the start; nothing was done", file=sys.stderr)
    raise SystemExit(128 + signal.SIGINT)  # as `run_program`


sys.excepthook = report_interrupt
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
