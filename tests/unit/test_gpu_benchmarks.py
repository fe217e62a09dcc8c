"""The benchmarks of a GPU on a CPU, at small sizes: they run, train what they time, and say what is missing."""

import functools
import runpy
import sys

import pytest
import torch

pytest.importorskip("timm")
pytest.importorskip("fairseq")
from benchmarks.gpu import __main__ as program
from benchmarks.gpu import compiled, loaders, measure, pretraining, run_tests
from benchmarks.gpu import steps as gpu_steps
from benchmarks.gpu.workload import WORKLOADS
from benchmarks.timing import Row
from maskspec_fairseq.modules.compiled_blocks import compile_blocks

pytestmark = pytest.mark.gpu

WORK = WORKLOADS["cpu"]


@pytest.fixture(autouse=True)
def quick_compiler(monkeypatch):
    monkeypatch.setattr(gpu_steps, "compile_blocks", functools.partial(compile_blocks, backend="eager"))


def test_every_benchmark_gives_rows():
    measured = measure.measure(measure.NAMES, "cpu")
    assert not measured.failed and not measured.left_out
    works = [row.work for row in measured.rows]
    assert len(set(zip(works, (row.peer for row in measured.rows)))) == len(works)
    for what in ("pretraining step, maskspec_mini_fast, fp16", "finetuning step, mini, bf16", "memory", "arithmetic"):
        assert any(what in work for work in works), what
    for what in ("embeddings, mini, bf16", "loaders of maskspec_mini_fast", "compiled pretraining step, maskspec_mini"):
        assert any(what in work for work in works), what
    assert "| pretraining step, maskspec_mini, bf16, 2 clips of 1 s |" in measured.text()


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize(
    "make",
    [
        lambda precision: gpu_steps.pretraining_step(WORK, "mini", True, precision),
        lambda precision: gpu_steps.pretraining_step(WORK, "mini", False, precision, compiled=True),
        lambda precision: gpu_steps.finetuning_step(WORK, "mini", 0.4, precision),
        lambda precision: gpu_steps.timm_pretraining_step(WORK, "mini", precision),
        lambda precision: gpu_steps.timm_finetuning_step(WORK, "mini", precision),
    ],
    ids=["fast", "compiled", "patchout", "timm pretraining", "timm finetuning"],
)
def test_every_step_changes_all_weights(make, precision, monkeypatch):
    models = []
    to = torch.nn.Module.to
    monkeypatch.setattr(
        torch.nn.Module, "to", lambda self, *args, **kwargs: models.append(self) or to(self, *args, **kwargs)
    )
    torch.manual_seed(1)
    step = make(precision)
    (model,) = [model for model in models if any(True for _ in model.parameters())]
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    for _ in range(8):  # in fp16, the first ones may only lower the scale of the loss
        step()
    assert all(torch.isfinite(value).all() for value in model.parameters())
    # one step in half precision may leave a norm's weight of 1 as it is
    assert all(not torch.equal(value, before[name]) for name, value in model.named_parameters() if value.dim() > 1)


def test_a_benchmark_that_fails_is_named_and_the_others_run(monkeypatch):
    def failing(work):
        yield Row("work", "peer", "1", "2", 0.5)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(pretraining, "rows", failing)
    monkeypatch.setattr(loaders, "rows", lambda work: iter([Row("other", "peer", "1", "2", 0.5)]))
    measured = measure.measure(["pretraining", "loaders"], "cpu")
    assert [row.work for row in measured.rows] == ["work", "other"]
    assert "**pretraining failed**: RuntimeError: out of memory" in measured.text()


def test_no_row_is_begun_once_the_time_is_over(monkeypatch):
    def endless(work):
        while True:
            yield Row("work", "peer", "1", "2", 0.5)

    monkeypatch.setattr(compiled, "rows", endless)
    measured = measure.measure(["compiled"], "cpu", max_sec=0.05)
    assert measured.rows and "because the time was over: compiled." in measured.text()


PASSING = "tests/unit/test_hydra_override.py"
REPORT = """<testsuites><testsuite name="pytest" errors="0" failures="1" skipped="1" tests="3" time="7.2">
<testcase name="test_one" /><testcase name="test_two"><failure message="assert 1 == 2&#10; more">x</failure></testcase>
<testcase name="test_three"><skipped message="no provider" /></testcase></testsuite></testsuites>"""


def test_a_report_names_what_failed_and_was_skipped():
    found = run_tests.read_report(REPORT, "tests/gpu")
    assert found.failed
    assert found.text().splitlines() == [
        "tests/gpu: 1 passed, 1 skipped, 1 failed in 7 s.", "",
        "- failure: test_two: assert 1 == 2", "- skipped: test_three: no provider",
    ]  # fmt: skip


def test_tests_that_take_too_long_are_stopped():
    found = run_tests.run_tests("cpu", 0.01)
    assert found.failed and "Stopped after 0 s" in found.text()


def test_the_report_has_tests_rows_card_and_versions(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(program, "run_tests", lambda device, max_sec: run_tests.TestRun("3 passed", failed=False))
    monkeypatch.setattr(program, "NAMES", ["loaders"])
    monkeypatch.setattr(loaders, "rows", lambda work: iter([Row("work", "peer", "1", "2", 0.5)]))
    assert program.main(["--device", "cpu", "--out", str(tmp_path / "gpu.md")]) == 0
    text = (tmp_path / "gpu.md").read_text()
    assert f"torch {torch.__version__.split('+')[0]}" in text and "commit" in text
    assert "3 passed" in text and "| work | peer |" in text
    assert ("no GPU" in text) != torch.cuda.is_available()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_a_sentence(monkeypatch, capsys):
    assert program.main([]) == 2
    assert capsys.readouterr().err == (
        "expected a GPU that torch can use, found none; run this on a machine with CUDA\n"
    )
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--device", "cuda"])
    with pytest.raises(SystemExit):
        runpy.run_module("benchmarks", run_name="__main__")
    assert "expected a GPU that torch can use, found none" in capsys.readouterr().err
