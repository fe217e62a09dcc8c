"""The plugin with a fairseq that is missing, broken, or not yet imported, or with versions that fairseq cannot use."""

import importlib
import re
import subprocess
import sys
from importlib import metadata

import pytest

from maskspec_fairseq import fairseq_compat
from maskspec_fairseq.fairseq_compat import require_fairseq


def run_python(code, *paths):
    env = {"PYTHONPATH": ":".join(map(str, paths)), "PATH": ""}
    return subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env=env)


# Where there is no fairseq for this Python, in a new environment, which knows no package of our name
INSTALL = f"pip install '{'maskspec-fairseq' if sys.version_info < (3, 13) else 'CHECKOUT'}[fairseq]'"


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
    assert INSTALL in done.stderr


def test_broken_fairseq_says_which_extra_to_install(broken_fairseq, repository):
    done = run_python("import maskspec_fairseq.tasks", broken_fairseq, repository)
    assert "found ValueError: mutable default for field common" in done.stderr
    assert INSTALL in done.stderr


def test_the_rest_does_without_fairseq(no_fairseq, repository):
    code = (
        "import sys, maskspec_fairseq, maskspec_fairseq.data_dir.manifest; assert 'torch' not in sys.modules\n"
        "import maskspec_fairseq.modules.masked_autoencoder, maskspec_fairseq.data.measure_mel\n"
        "import maskspec_fairseq.cli.reconstruct, maskspec_fairseq.cli.plot_loss\n"
        "assert 'fairseq' not in sys.modules; print(maskspec_fairseq.__version__)"
    )
    done = run_python(code, no_fairseq, repository)
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?\n", done.stdout), done.stderr


@pytest.mark.parametrize(
    "what, unused",
    [("build", ("torch", "sklearn", "scipy")), ("maskspec_fairseq.metrics", ("torch", "sklearn", "scipy"))],
)
def test_what_takes_seconds_to_import_waits_until_it_is_used(repository, what, unused):
    """manifests/build.py but for its statistics, and metrics on the way to a pretraining."""
    code = f"import sys, {what}; print([name for name in {unused} if name in sys.modules])"
    done = run_python(code, repository, repository / "manifests")
    assert done.stdout.strip() == "[]", done.stderr


def install(monkeypatch, python=(3, 11), fairseq_imports=True, **versions):
    """Pretend that these versions are installed, of packages whose dashes are underscores here."""

    def import_module(name):
        if not fairseq_imports:
            raise ImportError("cannot import name 'compose' from 'hydra.experimental'")

    monkeypatch.setattr(importlib, "import_module", import_module)
    monkeypatch.setattr(metadata, "version", lambda package: versions.get(package.replace("-", "_"), "1.0.0"))
    monkeypatch.setattr(fairseq_compat.sys, "version_info", (*python, 0, "final", 0))


BOUNDED = "pip install 'hydra-core<1.4' 'omegaconf<2.4'"


@pytest.mark.parametrize("version", ["1.4.0", "1.4.0rc3", "1.10.0", "2.0.0"])
def test_a_hydra_that_broke_fairseq_is_named_with_the_cure(monkeypatch, version):
    install(monkeypatch, fairseq_imports=False, hydra_core=version)
    with pytest.raises(ImportError, match=re.escape(f"with hydra-core {version} (expected <1.4); `{BOUNDED}`")):
        require_fairseq()


@pytest.mark.parametrize("version", ["1.0.7", "1.3.8"])
def test_a_hydra_that_is_supported_is_not_blamed(monkeypatch, version):
    install(monkeypatch, fairseq_imports=False, hydra_core=version, omegaconf="2.3.1")
    with pytest.raises(ImportError, match=r"maskspec-fairseq\[fairseq\].*ve-fairseq 0\.12\.3 on") as raised:
        require_fairseq()
    assert "hydra-core" not in str(raised.value)


def test_a_fairseq_that_imports_with_a_later_omegaconf_runs_with_a_warning(monkeypatch, caplog):
    install(monkeypatch, omegaconf="2.4.0")
    require_fairseq()
    (record,) = caplog.records
    assert "omegaconf 2.4.0 (expected <2.4)" in record.getMessage() and BOUNDED in record.getMessage()


def test_supported_versions_are_silent(monkeypatch, caplog):
    install(monkeypatch, hydra_core="1.3.8", omegaconf="2.3.1")
    require_fairseq()
    assert not caplog.records


@pytest.mark.parametrize("python", [(3, 13), (3, 14)])
def test_a_python_without_a_fairseq_is_named_with_the_cure(monkeypatch, python):
    install(monkeypatch, python, fairseq_imports=False, hydra_core="1.4.0")
    with pytest.raises(ImportError, match=rf"supports Python 3\.{python[1]}: .*`python3\.12 -m venv"):
        require_fairseq()


def test_the_bounds_are_those_of_the_extra(repository):
    setup = (repository / "setup.py").read_text()
    for package, (major, minor) in fairseq_compat.FIRST_UNTESTED.items():
        assert f"\"{package}<{major}.{minor}; python_version < '3.13'\"" in setup


def test_half_precision_without_a_gpu_is_refused_with_the_cure(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="expected a GPU .* found none .* add common.cpu=true common.fp16=false"):
        fairseq_compat.check_devices(cpu=False, half_precision=True)
    fairseq_compat.check_devices(cpu=False, half_precision=False)
    fairseq_compat.check_devices(cpu=True, half_precision=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    fairseq_compat.check_devices(cpu=False, half_precision=True)


def test_a_run_whose_last_epoch_would_be_lost_is_refused():
    with pytest.raises(
        ValueError, match="max_epoch=40 with checkpoint.save_interval=15; take a save_interval that div"
    ):
        fairseq_compat.check_last_epoch_is_saved(max_epoch=40, max_update=0, save_interval=15, no_save=False)
    for change in (dict(save_interval=20), dict(max_update=1000), dict(no_save=True), dict(max_epoch=45)):
        fairseq_compat.check_last_epoch_is_saved(
            **{"max_epoch": 40, "max_update": 0, "save_interval": 15, "no_save": False, **change}
        )


def test_processes_of_torchrun_that_would_train_each_for_itself_are_refused(monkeypatch):
    import torch

    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(ValueError, match="one run by the 4 processes .* add .*distributed_world_size=4;"):
        fairseq_compat.check_devices(cpu=True, half_precision=False)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    fairseq_compat.check_devices(cpu=True, half_precision=False)


def test_only_the_warnings_that_no_user_can_act_on_are_hidden():
    pytest.importorskip("omegaconf")
    import warnings

    with warnings.catch_warnings():
        fairseq_compat.shorten_log()
        for hidden in (
            "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't",
            "`torch.cuda.amp.autocast(args...)` is deprecated. Please use `torch.amp.autocast",
        ):
            warnings.filterwarnings("error", append=True)
            warnings.warn(hidden, stacklevel=1)
        with pytest.raises(UserWarning, match="overflow"):
            warnings.warn("overflow encountered in exp", stacklevel=1)
