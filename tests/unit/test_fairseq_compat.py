"""The plugin beside a fairseq that is missing, broken, or not yet imported: every case in a process of its own."""

import subprocess
import sys

import pytest


def run_python(code, *paths):
    env = {"PYTHONPATH": ":".join(map(str, paths)), "PATH": ""}
    return subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env=env)


@pytest.fixture()
def no_fairseq(tmp_path):
    (tmp_path / "fairseq.py").write_text("raise ModuleNotFoundError(\"No module named 'fairseq'\", name='fairseq')")
    return tmp_path


@pytest.fixture()
def broken_fairseq(tmp_path):
    """What stock fairseq does on Python 3.11."""
    (tmp_path / "fairseq.py").write_text("raise ValueError('mutable default for field common is not allowed')")
    return tmp_path


@pytest.mark.parametrize("package", ["tasks", "models", "criterions", "optim"])
def test_missing_fairseq_says_which_extra_to_install(no_fairseq, repository, package):
    done = run_python(f"import maskspec_fairseq.{package}", no_fairseq, repository)
    assert done.returncode and "ImportError: expected a fairseq that imports, found ModuleNotFoundError" in done.stderr
    assert "pip install 'maskspec-fairseq[fairseq]'" in done.stderr


def test_broken_fairseq_says_which_extra_to_install(broken_fairseq, repository):
    done = run_python("import maskspec_fairseq.tasks", broken_fairseq, repository)
    assert "found ValueError: mutable default for field common" in done.stderr
    assert "ve-fairseq 0.12.3 from 3.11 on" in done.stderr


def test_the_rest_does_without_fairseq(no_fairseq, repository):
    code = (
        "import sys, maskspec_fairseq, maskspec_fairseq.data_dir.manifest; assert 'torch' not in sys.modules\n"
        "import maskspec_fairseq.modules.masked_autoencoder, maskspec_fairseq.data.measure_mel\n"
        "import maskspec_fairseq.cli.reconstruct, maskspec_fairseq.cli.plot_loss\n"
        "assert 'fairseq' not in sys.modules; print(maskspec_fairseq.__version__)"
    )
    done = run_python(code, no_fairseq, repository)
    assert done.stdout == "0.1.0\n", done.stderr


@pytest.mark.parametrize(
    "what, unused",
    [("build", ("torch", "sklearn", "scipy")), ("maskspec_fairseq.metrics", ("torch", "sklearn", "scipy"))],
)
def test_what_takes_seconds_to_import_waits_until_it_is_used(repository, what, unused):
    """manifests/build.py but for its statistics, and metrics on the way to a pretraining."""
    code = f"import sys, {what}; print([name for name in {unused} if name in sys.modules])"
    done = run_python(code, repository, repository / "manifests")
    assert done.stdout.strip() == "[]", done.stderr
