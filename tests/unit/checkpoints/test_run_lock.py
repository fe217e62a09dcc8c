import errno
import os
import signal
import subprocess
import sys

import pytest

from maskspec_fairseq.checkpoints import run_lock
from maskspec_fairseq.checkpoints.run_lock import lock_run
from tests.factories import REPOSITORY

# Another training: it locks the directory, forks a loader process that outlives it, says both ids, and waits.
TRAIN = """
import os, sys, time
from maskspec_fairseq.checkpoints.run_lock import lock_run
lock_run(sys.argv[1])
loader = os.fork()
if loader:
    print(loader, flush=True)
time.sleep(60)
"""


@pytest.fixture()
def training(tmp_path):
    """The process that trains in `tmp_path`, and its loader's id."""
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, "-c", TRAIN, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=env)
    loader = int(process.stdout.readline())
    yield process, loader
    process.kill()
    process.wait()
    os.kill(loader, signal.SIGKILL)


def test_a_second_training_is_refused_until_the_first_has_ended_however_it_ends(training, tmp_path):
    process, loader = training
    owner = f"process {process.pid} on host {os.uname().nodename}"
    for _ in range(2):  # a refused one leaves the lock as it is
        with pytest.raises(ValueError, match=f"expected no other training in this directory, found {owner}; wait"):
            lock_run(str(tmp_path))
    process.kill()
    process.wait()
    os.kill(loader, 0)  # the loader is still there
    lock_run(str(tmp_path))
    assert (tmp_path / "run.lock").read_text() == f"process {os.getpid()} on host {os.uname().nodename}\n"


def test_a_file_system_without_locks_gets_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_lock.fcntl, "lockf", refuse)
    lock_run(str(tmp_path))
    assert "run.lock: cannot be locked ([Errno" in caplog.text and "start no second training" in caplog.text
