"""Files with bytes changed at random, and a process of limited time and memory to open them in."""

import multiprocessing
import os
import resource
import signal
import sys
import traceback

import numpy as np

SECONDS = 20  # that a file may take
GIBIBYTES = 3  # that it may ask for
HANG = f"ended by signal {int(signal.SIGALRM)}"


def mutated(content, rng):
    """Some bytes set anew, mostly near its ends, where headers are; or cut off, or a part left out or doubled."""
    data = bytearray(content)
    kind = rng.integers(8)
    start, end = np.sort(rng.integers(0, len(data), 2))
    if kind == 0:
        return data[:start]
    if kind == 1:
        return data[:start] + data[end:]
    if kind == 2:
        return data[:end] + data[start:]
    for _ in range(rng.integers(1, 9)):
        near = int(rng.integers(0, min(len(data), 4096 if rng.random() < 0.8 else len(data))))
        place = near if rng.random() < 0.5 else len(data) - 1 - near
        data[place] = rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))])
    return data


def in_fork(function, *arguments):
    """What a function returns in a process of its own, its traceback, or how the process was ended."""
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def run():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: SIM115
        resource.setrlimit(resource.RLIMIT_AS, (used + GIBIBYTES * 2**30,) * 2)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        try:
            sender.send(function(*arguments))
        except BaseException:
            sender.send(traceback.format_exc())

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    sender.close()
    try:
        found = receiver.recv()
    except EOFError:
        found = None
    process.join()
    return found or f"ended by signal {-(process.exitcode or 0)}"


def outcomes_of_mutations(path, count, function, *arguments):
    """Seed, and what `in_fork` says of a function, for `count` mutations of a file, which is changed in place."""
    content = path.read_bytes()
    for seed in range(count):
        path.write_bytes(mutated(content, np.random.default_rng(seed)))
        yield seed, in_fork(function, *arguments)
