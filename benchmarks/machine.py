"""What figures were measured with: the commit, the processor, the card and the versions."""

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

HERE = Path(__file__).parent


def processor() -> str:
    """The name of the processor if the system tells it, else of its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def card() -> str:
    """The name of the GPU, its memory and the versions below torch; "no GPU" where there is none."""
    if not torch.cuda.is_available():
        return "no GPU"
    properties = torch.cuda.get_device_properties(0)
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    try:
        driver = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    except OSError:
        driver = ""
    memory = f"{properties.total_memory / 2**30:.0f} GiB"
    return f"{properties.name}, {memory}, driver {driver or 'unknown'}, CUDA {torch.version.cuda}"


def commit() -> str:
    """The commit that runs, and whether files differ from it."""

    def git(*arguments: str) -> str:
        try:
            return subprocess.run(["git", "-C", HERE, *arguments], capture_output=True, text=True).stdout.strip()
        except OSError:  # no git
            return ""

    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (", with changes" if changed else "")


def surroundings(packages: Sequence[str]) -> str:
    """The processor, Python, and the versions of packages, those left out that are not there."""
    found = []
    for name in packages:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, {', '.join(found)}"


def bf16_units() -> list[str]:
    """The units that the processor has for products in bf16; without any, they take several times those of float32."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    return [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags]
