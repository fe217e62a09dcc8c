"""One training at a time in a directory of checkpoints."""

import errno
import fcntl
import logging
import os
import socket

logger = logging.getLogger(__name__)

LOCK_FILE = "run.lock"


def lock_run(save_dir: str) -> None:
    """Keep other trainings out of `save_dir` until this process ends, however it ends.

    The lock is a POSIX one: child processes do not inherit it, so that no loader process keeps it after its trainer was
    killed, and network file systems pass it on. A file system without locks gets a warning.

    Raises:
        ValueError: another process trains there; the message names it and its host.
        OSError: the file cannot be written.
    """
    path = os.path.join(save_dir, LOCK_FILE)
    # never closed: closing any descriptor of the file would give the lock away
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            logger.warning("%s: cannot be locked (%s); start no second training in this directory", path, error)
            return
        owner = os.read(descriptor, 1000).decode(errors="replace").strip()
        raise ValueError(
            f"{os.path.abspath(save_dir)}: expected no other training in this directory, found {owner or 'one'}; wait "
            "for its end, or choose another hydra.run.dir"
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on host {socket.gethostname()}\n".encode())
