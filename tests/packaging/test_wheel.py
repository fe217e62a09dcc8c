"""The wheel, installed in an empty environment, trains from any directory: `make test-wheel`."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from maskspec_fairseq.cli.programs import PROGRAMS
from tests.factories import REPOSITORY

# What an sdist is made of; the rest of a checkout (tests, docs, results) must not be needed.
SOURCE = [
    "CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in", "README.md", "config", "maskspec_fairseq",
    "pyproject.toml", "setup.py", "weights",
]  # fmt: skip
CONSTRAINTS = {(3, 9): [], (3, 10): ["-c", "constraints/stock.txt"]}.get(
    sys.version_info[:2], ["-c", "constraints/ve-fairseq.txt"]
)
SDIST = "from setuptools import build_meta; build_meta.build_sdist('dist')"
TINY = [
    "model.encoder_layers=1", "model.encoder_embed_dim=32", "model.encoder_attention_heads=2",
    "model.encoder_ffn_embed_dim=64", "model.decoder_layers=1", "model.decoder_embed_dim=32",
    "model.decoder_attention_heads=2", "model.decoder_ffn_embed_dim=64",
]  # fmt: skip


def run(*command, cwd) -> subprocess.CompletedProcess:
    """Run a command that sees neither the checkout nor this process's environment."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


@pytest.fixture(scope="module")
def bin_dir(tmp_path_factory) -> Path:
    """bin/ of an environment with a wheel that was built from an sdist, and the extra `fairseq`."""
    build = tmp_path_factory.mktemp("build")
    for name in SOURCE:
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, build / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, build)
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=True)
    pip = [environment / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    if sys.version_info < (3, 11):
        run(*pip, "install", "pip<24.1", cwd=build)
    run(*pip, "install", "setuptools>=64", "wheel", cwd=build)
    run(environment / "bin" / "python", "-c", SDIST, cwd=build)
    (sdist,) = (build / "dist").glob("*.tar.gz")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", build / "dist", sdist, cwd=build)
    (wheel,) = (build / "dist").glob("*.whl")
    run(*pip, "install", *CONSTRAINTS, f"{wheel}[fairseq]", cwd=REPOSITORY)
    yield environment / "bin"
    shutil.rmtree(environment)  # 5 GB


@pytest.mark.wheel
def test_a_wheel_builds_data_copies_recipes_and_trains_from_any_directory(bin_dir, tmp_path):
    run(bin_dir / "maskspec-build", "demo", "--out", "data/demo", cwd=tmp_path)
    printed = run(bin_dir / "maskspec-recipes", "config", cwd=tmp_path).stdout
    assert "--config-dir config/pretraining --config-name maskspec_base" in printed
    train = [bin_dir / "fairseq-hydra-train", "--config-dir", "config/pretraining", "--config-name", "demo"]
    trained = run(*train, "task.data=data/demo", "optimization.max_update=4", *TINY, cwd=tmp_path)
    assert "done training" in trained.stdout + trained.stderr
    checkpoint = tmp_path / "runs" / "demo" / "checkpoints" / "checkpoint_last.pt"
    assert checkpoint.is_file()
    code = (
        "import maskspec_fairseq, torch; print(maskspec_fairseq.__path__[0])\n"
        f"print(torch.load({str(checkpoint)!r}, weights_only=True)['cfg']['common']['user_dir'])"
    )
    package, user_dir = run(bin_dir / "python", "-c", code, cwd=tmp_path).stdout.splitlines()
    assert Path(package).parent.name == "site-packages" and Path(package).is_relative_to(bin_dir.parent)
    assert user_dir == package
    audio = "data/demo/audio/harmonic_tone/0038.flac"
    run(bin_dir / "maskspec-embed", audio, "--checkpoint", "maskspec_tiny_free", "--out", "e.npy", cwd=tmp_path)
    assert (tmp_path / "e.npy").is_file()  # by the weights in the wheel


@pytest.mark.wheel
def test_a_wheel_is_typed_and_has_all_recipes_and_programs(bin_dir):
    (package,) = bin_dir.parent.glob("lib/python*/site-packages/maskspec_fairseq")
    assert (package / "py.typed").is_file()
    own = {path.relative_to(REPOSITORY / "config") for path in (REPOSITORY / "config").rglob("*.yaml")}
    assert {path.relative_to(package / "recipes") for path in (package / "recipes").rglob("*.yaml")} == own
    assert sorted(path.name for path in bin_dir.glob("maskspec-*")) == sorted(PROGRAMS)
    code = (
        "from importlib.metadata import distribution\n"
        "for entry_point in distribution('maskspec-fairseq').entry_points: assert callable(entry_point.load())"
    )
    run(bin_dir / "python", "-c", code, cwd=bin_dir)
