"""maskspec-crossval as a user runs it, from the pretraining of conftest.py."""

import json
import subprocess

import pytest

from maskspec_fairseq.cli import crossval, evaluate
from tests.integration.forked import training_process
from tests.integration.runs import TINY


def test_folds_are_crossvalidated_and_what_is_done_is_kept(labelled_dir, whole_run, tmp_path, capsys, monkeypatch):
    # a training and an evaluation in a new interpreter, as they are run; the others in less time
    first = {"call": [subprocess.call], "run": [subprocess.run]}

    def call(command, **kwargs):
        if first["call"]:
            return first["call"].pop()(command, **kwargs)
        return training_process(kwargs["stdout"].name, command[command.index("--config-dir") :]).wait()

    def run(command, **kwargs):
        if first["run"]:
            return first["run"].pop()(command, **kwargs)
        return subprocess.CompletedProcess(command, evaluate.main(command[command.index("--data") :]))

    monkeypatch.setattr(subprocess, "call", call)
    monkeypatch.setattr(subprocess, "run", run)
    out = tmp_path / "läufe [a], b='c'"  # characters that hydra gives a meaning
    arguments = ["--config-name", "demo", "--data", str(labelled_dir), "--out", str(out), "--best-on-test"]
    arguments += ["--pretrained", f"{whole_run[0]}/checkpoints/checkpoint_last.pt", "--folds", "1", "2"]
    fields = [*TINY, "optimization.max_epoch=2", "lr_scheduler.warmup_epochs=0"]
    assert crossval.main([*arguments, *fields]) == 0
    printed = capsys.readouterr().out
    summary = json.loads((out / "crossval.json").read_text())
    accuracies = [summary["folds"][str(fold)]["last"]["accuracy"] for fold in (1, 2)]
    mean = sum(accuracies) / 2
    assert summary["last epoch"]["accuracy"] == pytest.approx(mean)
    assert f"last epoch: accuracy {mean:.4f} +- " in printed
    assert "best epoch, optimistic: chosen on the test fold: accuracy" in printed
    logs = [(out / f"fold{fold}" / "hydra_train.log").read_text() for fold in (1, 2)]
    assert "loaded 12 clips of fold2" in logs[0] and "loaded 12 clips of fold1" in logs[1]
    assert crossval.main([*arguments, *fields, "optimization.max_epoch=3"]) == 2
    assert "expected " in (refused := capsys.readouterr().err) and "choose another --out" in refused
    (out / "fold2" / "done").unlink()
    assert crossval.main([*arguments, *fields]) == 0
    again = capsys.readouterr().out
    assert "fold 1: training" not in again and "fold 2: training" in again
    assert json.loads((out / "crossval.json").read_text()) == summary
