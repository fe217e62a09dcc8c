"""maskspec-crossval without its trainings; those are in tests/integration/test_finetuning.py."""

import json
import shutil
import subprocess
import sys

import pytest

from maskspec_fairseq.atomic_write import write_json
from maskspec_fairseq.cli import crossval
from tests.factories import REPOSITORY


@pytest.fixture()
def calls(folds, tmp_path, monkeypatch):
    """The commands that are run, of trainings that leave a checkpoint and of scorings that find an accuracy of 0.5."""
    commands = []

    def train(command, stdout, **kwargs):
        commands.append(command)
        run_dir = json.loads((tmp_path / "runs" / f"fold{fold_of(command)}" / "crossval_run.json").read_text())
        assert run_dir["command"] == command[1:]
        checkpoints = tmp_path / "runs" / f"fold{fold_of(command)}" / "checkpoints"
        checkpoints.mkdir(exist_ok=True)
        (checkpoints / "checkpoint_last.pt").touch()
        return 0

    def score(command, **kwargs):
        assert command[:3] == [sys.executable, "-m", "maskspec_fairseq.cli.evaluate"]
        out = command[command.index("--out") + 1]
        write_json(crossval.Path(out, "scores.json"), {"scores": {"accuracy": 0.5}})
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(crossval.subprocess, "call", train)
    monkeypatch.setattr(crossval.subprocess, "run", score)
    return commands


def fold_of(command):
    return int(next(word for word in command if word.startswith("task.fold="))[len("task.fold=") :])


def arguments(folds, tmp_path, *more):
    return ["--config-name", "demo", "--data", str(folds), "--out", str(tmp_path / "runs"), *more]


@pytest.mark.parametrize(
    "more, expected",
    [
        ([], [1, 2, 3]),
        (["--folds", "3", "1"], [3, 1]),
        (["--folds", "2", "3", "optimization.max_epoch=5", "size=tiny"], [2, 3]),
        (["optimization.max_epoch=5", "--folds", "2", "size=tiny"], [2]),
    ],
)
def test_overrides_may_stand_anywhere(folds, tmp_path, calls, more, expected):
    assert crossval.main(arguments(folds, tmp_path, *more)) == 0
    assert [fold_of(command) for command in calls] == expected
    overrides = {word for word in more if "=" in word}
    assert all(overrides <= set(command) for command in calls)
    summary = json.loads((tmp_path / "runs" / "crossval.json").read_text())
    assert list(summary) == ["folds", "last epoch"] and list(summary["folds"]) == list(map(str, expected))


def test_the_second_example_of_the_page_parses():
    (example,) = [
        line for line in (REPOSITORY / "docs" / "crossval.md").read_text().splitlines() if "--folds 1 2" in line
    ]
    assert crossval.build_parser().parse_intermixed_args(example.split()[1:]).folds == [
        1,
        2,
        "optimization.max_epoch=5",
    ]


@pytest.mark.parametrize("more", [["--folds", "0"], ["--folds", "a"], ["--folds"]])
def test_what_is_not_a_fold_is_refused(folds, tmp_path, capsys, more):
    with pytest.raises(SystemExit) as exited:
        crossval.main(arguments(folds, tmp_path, *more))
    assert exited.value.code == 2 and "--folds" in capsys.readouterr().err


def test_folds_that_are_not_there_are_named(folds, tmp_path, capsys):
    assert crossval.main(arguments(folds, tmp_path, "--folds", "1", "7")) == 2
    assert "found 3 such manifests and none of fold 7; write the directory" in capsys.readouterr().err


def test_a_directory_belongs_to_a_command_once_it_has_a_checkpoint(folds, tmp_path, calls, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(crossval.subprocess, "call", lambda *args, **kwargs: 1)
        assert crossval.main(arguments(folds, tmp_path, "size=tinny")) == 2
    assert "fold 1: training failed: no output; correct the command. All its output is in" in capsys.readouterr().err
    assert crossval.main(arguments(folds, tmp_path, "size=tiny")) == 0
    assert crossval.main(arguments(folds, tmp_path, "size=small")) == 2
    error = capsys.readouterr().err
    assert f"expected {tmp_path / 'runs' / 'fold1'} to be of this command, recipe, data and start, found" in error
    assert "is of the command -m " in error and "size=tiny; another size/small.yaml in " in error
    before = len(calls)
    assert crossval.main(arguments(folds, tmp_path, "size=tiny")) == 0 and len(calls) == before


def test_finished_folds_of_other_data_or_of_an_edited_recipe_are_refused(folds, tmp_path, calls, capsys):
    recipes = shutil.copytree(REPOSITORY / "config" / "finetuning", tmp_path / "recipes")
    command = arguments(folds, tmp_path, "--config-dir", str(recipes), "size=small", f"task.name={'x' * 300}")
    run_dir = tmp_path / "runs" / "fold1"
    assert crossval.main(command) == 0 and crossval.main(command) == 0 and len(calls) == 3
    noted = json.loads((run_dir / "crossval_run.json").read_text())
    assert list(noted["recipe_sha256"]) == [
        "base.yaml",
        "corpus/demo.yaml",
        "demo.yaml",
        "size/small.yaml",
        "size/tiny.yaml",
    ]

    (recipes / "corpus" / "esc50.yaml").write_text("optimization: {lr: [1.0]}\n")
    assert crossval.main(command) == 0  # of another recipe
    kept = (recipes / "base.yaml").read_text()
    (recipes / "base.yaml").write_text(kept.replace("weight_decay: 0.05", "weight_decay: 0.5"))
    assert crossval.main(command) == 2 and "it is of another base.yaml in " in capsys.readouterr().err
    (recipes / "base.yaml").write_text(kept)
    assert crossval.main(command) == 0

    labels = folds / "fold3.lbl"
    labels.write_text("".join(reversed(labels.read_text().splitlines(keepends=True))))
    assert crossval.main(command) == 2 and "it is of other clips or labels in " in capsys.readouterr().err
    assert len(calls) == 3

    del noted["recipe_sha256"], noted["data_sha256"]  # as an earlier version noted it
    for fold in (1, 2, 3):
        noted["command"] = json.loads((tmp_path / "runs" / f"fold{fold}" / "crossval_run.json").read_text())["command"]
        write_json(tmp_path / "runs" / f"fold{fold}" / "crossval_run.json", noted)
    assert crossval.main(command) == 0


def test_a_recipe_that_is_not_there_is_refused(folds, tmp_path, capsys):
    assert crossval.main(["--config-name", "esc5", "--data", str(folds), "--out", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert " esc50, " in error and "found esc5; correct --config-name or --config-dir" in error
    assert not (tmp_path / "runs").exists()


def test_the_reason_of_a_failed_training_is_shown(folds, tmp_path, capsys, monkeypatch):
    """Of this attempt: the log has the output of the earlier ones, too."""
    fail = [sys.executable, "-c", "raise ValueError('expected a, found b')"]
    monkeypatch.setattr(crossval, "train_command", lambda *args: fail)
    log = tmp_path / "runs" / "fold1" / "output.log"
    log.parent.mkdir(parents=True)
    log.write_text("OSError: of an earlier attempt\n")
    assert crossval.main(arguments(folds, tmp_path, "--folds", "1")) == 2
    error = capsys.readouterr().err
    assert error.startswith("maskspec-crossval: fold 1: training failed: ValueError: expected a, found b; ")
    assert str(log) in error and error.count("\n") == 1
    fail[-1] = "raise SystemExit(3)"
    assert crossval.main(arguments(folds, tmp_path, "--folds", "1")) == 2
    assert "training failed: no output; " in capsys.readouterr().err


def test_ctrl_c_in_a_training_says_where_it_stood(folds, tmp_path, capsys, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(crossval.subprocess, "call", interrupted)
    assert crossval.main(arguments(folds, tmp_path, "--folds", "2")) == 130
    error = capsys.readouterr().err
    assert error.startswith("maskspec-crossval: interrupted; fold 2 was in training") and error.count("\n") == 1
    assert str(tmp_path / "runs" / "fold2" / "output.log") in error and "the same command resumes" in error


def test_the_reason_of_a_failed_scoring_is_shown(folds, tmp_path, calls, capsys, monkeypatch):
    failed = subprocess.CompletedProcess([], 2, stderr="maskspec-evaluate: expected a, found b\n")
    monkeypatch.setattr(crossval.subprocess, "run", lambda command, **kwargs: failed)
    assert crossval.main(arguments(folds, tmp_path, "--folds", "1")) == 2
    message = "fold 1: cannot be scored, maskspec-evaluate says: maskspec-evaluate: expected a, found b\n"
    assert message in capsys.readouterr().err and not (tmp_path / "runs" / "crossval.json").exists()


def test_the_last_exception_is_found_in_an_output():
    output = (
        "loading\nValueError: first\nDuring ...\n  raise x\nomegaconf.errors.ConfigKeyError: no key a\n  full: a\n\n"
    )
    assert crossval.last_error(output) == "omegaconf.errors.ConfigKeyError: no key a"
    assert crossval.last_error("killed\n\n") == "killed" and crossval.last_error("") == "no output"
