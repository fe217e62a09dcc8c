"""Run tests/gpu in a process of its own, and say what came of it."""

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class TestRun:
    """What pytest has found.

    summary: a sentence. failed: whether there is something to mend. details: a line per failed or skipped test.
    """

    __test__ = False  # for pytest: this is no test

    summary: str
    failed: bool
    details: Sequence[str] = ()

    def text(self) -> str:
        return "\n".join([self.summary, *(["", *self.details] if self.details else [])])


def run_tests(device: str, max_sec: float, tests: Sequence[str] = ("tests/gpu",)) -> TestRun:
    """Run tests on a device, cuda or cpu; those marked slow on a GPU alone.

    Args:
        max_sec: after which they are stopped, s.
        tests: paths, or paths with names of tests.
    """
    marked = "gpu" if device == "cuda" else "gpu and not slow"
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "tests.xml"
        command = [sys.executable, "-W", "ignore", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
        command += ["-m", marked, f"--device={device}", f"--junitxml={report}"]
        if device == "cuda" and importlib.util.find_spec(
            "xdist"
        ):  # a file per process; one file alone takes most of the time
            command += ["-n", "3", "--dist", "loadfile"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=sys.stderr, start_new_session=True)
        try:
            code = process.wait(max_sec)
        except subprocess.TimeoutExpired:
            return TestRun(f"**Stopped after {max_sec:.0f} s.**", failed=True)
        finally:
            if process.poll() is None:  # so are the trainings that it has started
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if not report.is_file():
            return TestRun(f"**pytest ended with code {code} and no report.**", failed=True)
        return read_report(report.read_text(encoding="utf-8"), " ".join(tests))


def read_report(text: str, tests: str) -> TestRun:
    """What a report of `--junitxml` says."""
    suite = ElementTree.fromstring(text).find("testsuite")
    assert suite is not None
    total, skipped = int(suite.attrib["tests"]), int(suite.attrib["skipped"])
    failed = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    details = []
    for case in suite.iter("testcase"):
        for kind in ("failure", "error", "skipped"):
            found = case.find(kind)
            if found is not None:
                message = (found.attrib.get("message") or "").splitlines() or [""]
                details.append(f"- {kind}: {case.attrib['name']}: {message[0]}")
    seconds = float(suite.attrib["time"])
    summary = f"{tests}: {total - skipped - failed} passed, {skipped} skipped, {failed} failed in {seconds:.0f} s."
    return TestRun(summary, failed > 0 or total == 0, details)
