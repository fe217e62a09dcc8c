"""experiments/: which steps run.py repeats and what it records; means and plots of tables.py; the lists themselves."""

import csv
import importlib
import json
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from experiments import run, tables
from maskspec_fairseq.cli.programs import PROGRAMS
from tests.factories import REPOSITORY

LISTS = sorted((REPOSITORY / "experiments").glob("*.yaml"))
SHELL = ("python", "cp", "mkdir", "rm", "test", "touch", "for", "ln", "number=${path##*_};", "done")
SCORES = json.dumps({"scores": {"accuracy": 0.75}})
LOG = "\n".join(
    f'[2026-01-01 00:00:00,000][{kind}][INFO] - {{"epoch": {epoch}, {entry}}}'
    for kind, epoch, entry in [
        ("train", 1, '"train_loss": "0.9", "train_wall": "10"'),
        ("train", 2, '"train_loss": "0.5", "train_wall": "20"'),
        ("train", 2, '"train_loss": "0.6", "train_wall": "31"'),  # the second epoch was begun again
        ("test", 2, '"test_loss": "0.7", "test_wall": "32"'),
    ]
)
RUNS = """step,accuracy,deviation,wall_s
pretrain/tiny,,,4946
tiny/pretrained/fold2,0.8000,,60
tiny/pretrained/fold1,0.7000,,60
mask/0.75/probe,0.7500,0.0400,9
mask/0.5/probe,0.6500,0.0300,9
mask/0.5/fold5,0.8500,,60
"""


@pytest.fixture()
def experiments(tmp_path):
    """A list of a pretraining and two finetunings, each of which adds its name to calls.txt."""
    calls, made = tmp_path / "calls.txt", tmp_path / "made"
    (made / ".hydra").mkdir(parents=True)
    (made / ".hydra" / "config.yaml").write_text(f"seed: 1\ndata: {Path.cwd()}/data/esc10\n")
    (made / "hydra_train.log").write_text(LOG + "\n")
    (made / "scores.json").write_text(SCORES)
    path = tmp_path / "experiments.yaml"
    path.write_text(
        f"""
steps:
  - name: pretrain
    command: echo pretrain >> {calls} && touch {made}/pretrained.pt
    makes: {made}/pretrained.pt
    run_dir: {made}
  - name: fold{{fold}}
    over: {{fold: [1, 2]}}
    needs: [pretrain]
    command: echo fold{{fold}} >> {calls} && test ! -e {tmp_path}/broken && touch {made}/fold{{fold}}
    makes: {made}/fold{{fold}}
    score: {made}/scores.json
"""
    )
    return path


def rows(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_steps_are_done_once_and_recorded(experiments):
    for _ in range(2):
        assert run.main([str(experiments), "--out", str(experiments.parent)]) == 0
    assert (experiments.parent / "calls.txt").read_text().split() == ["pretrain", "fold1", "fold2"]
    written = rows(experiments.parent / "runs.csv")
    assert [(row["step"], row["accuracy"]) for row in written] == [
        ("pretrain", ""),
        ("fold1", "0.7500"),
        ("fold2", "0.7500"),
    ]
    assert written[0]["wall_s"] == "31"  # by its log, which counts the parts of an interrupted run
    log = rows(experiments.parent / "logs" / "pretrain.csv")
    assert [row["train_loss"] for row in log] == ["0.9", "0.6"]
    assert log[1]["valid_loss"] == "0.7"
    assert (experiments.parent / "configs" / "pretrain.yaml").read_text() == "seed: 1\ndata: data/esc10\n"


def test_a_probe_leaves_the_mean_and_deviation_of_its_folds(tmp_path):
    probe = {"features": {"embeddings": {"linear": {"fold1": 0.5, "fold2": 0.7, "fold3": 0.9}, "knn": {"fold1": 0.1}}}}
    (tmp_path / "probe.json").write_text(json.dumps(probe))
    assert run.read_score(tmp_path / "probe.json") == ("0.7000", "0.2000")
    sweep = {**probe, "chosen": {}, "readouts": [{"scores": {"linear": {"fold1": 1.0, "fold2": 1.0, "fold3": 1.0}}}]}
    (tmp_path / "sweep.json").write_text(json.dumps(sweep))  # its score is that of the readout chosen inside
    assert run.read_score(tmp_path / "sweep.json") == ("0.7000", "0.2000")


def test_a_single_fold_has_no_deviation(tmp_path):
    (tmp_path / "probe.json").write_text(json.dumps({"features": {"embeddings": {"linear": {"fold5": 0.7}}}}))
    assert run.read_score(tmp_path / "probe.json") == ("0.7000", "")


def test_combinations_may_be_listed(tmp_path):
    over = "[{size: tiny, lr: 1}, {size: small, lr: 2}]"
    (tmp_path / "experiments.yaml").write_text(
        f"steps: [{{name: '{{size}}', over: {over}, command: 'train {{lr}}'}}]\n"
    )
    steps = run.read_steps(tmp_path / "experiments.yaml")
    assert {name: step["command"] for name, step in steps.items()} == {"tiny": "train 1", "small": "train 2"}


def test_a_listed_combination_may_have_lists():
    over = [{"start": "random", "fold": [1, 2]}, {"start": "pretrained", "fold": [3]}]
    starts = [("random", 1), ("random", 2), ("pretrained", 3)]
    assert [(values["start"], values["fold"]) for values in run.combinations(over)] == starts


def test_a_step_is_chosen_by_its_name_several_by_how_they_begin():
    steps = run.Experiments(REPOSITORY / "experiments" / "pretrained.yaml", REPOSITORY / "results" / "pretrained")
    assert steps.choose(["hours/2"]) == {"hours/2"}  # not hours/2.7
    assert steps.choose(["hours/probe", "esc50"]) == {
        "esc50",
        *(n for n in steps.steps if n.startswith("hours/probe_")),
    }
    with pytest.raises(ValueError, match="expected a step of the list, or how one begins, found hours/3"):
        steps.choose(["esc50", "hours/3"])


def test_goes_on_where_a_step_failed(experiments, capsys):
    broken = experiments.parent / "broken"
    broken.touch()
    assert run.main([str(experiments), "--out", str(experiments.parent)]) == 1
    assert "fold1: expected" in capsys.readouterr().err
    broken.unlink()
    assert run.main([str(experiments), "--out", str(experiments.parent)]) == 0
    assert (experiments.parent / "calls.txt").read_text().split() == ["pretrain", "fold1", "fold1", "fold2"]


def test_what_is_needed_again_is_made_again(experiments):
    assert run.main([str(experiments), "--out", str(experiments.parent), "--only", "fold1"]) == 0
    (experiments.parent / "made" / "pretrained.pt").unlink()
    assert run.main([str(experiments), "--out", str(experiments.parent), "--only", "fold2"]) == 0
    assert (experiments.parent / "calls.txt").read_text().split() == ["pretrain", "fold1", "pretrain", "fold2"]
    assert [row["step"] for row in rows(experiments.parent / "runs.csv")] == ["pretrain", "fold1", "fold2"]


@pytest.mark.parametrize("steps", ["[{name: a, needs: [b]}, {name: b}]", "[{name: a}, {name: a}]"])
def test_a_list_that_contradicts_itself_is_refused(tmp_path, steps):
    (tmp_path / "experiments.yaml").write_text(f"steps: {steps}\n")
    with pytest.raises(ValueError, match="expected"):
        run.read_steps(tmp_path / "experiments.yaml")


@pytest.fixture()
def scores(tmp_path):
    (tmp_path / "runs.csv").write_text(RUNS)
    return tables.read_scores(tmp_path / "runs.csv")


def test_folds_are_one_line_with_their_mean_and_deviation(scores):
    lines = tables.table(scores).splitlines()[2:]
    assert lines == [
        "| tiny/pretrained | fold1 0.7000, fold2 0.8000 | 0.7500 | 0.071 |",
        "| mask/0.75/probe |  | 0.7500 | 0.040 |",
        "| mask/0.5/probe |  | 0.6500 | 0.030 |",
        "| mask/0.5 | fold5 0.8500 | 0.8500 |  |",
    ]


def test_a_curve_has_the_steps_of_its_pattern_by_x(scores):
    assert tables.curve(scores, "mask/{x}/probe") == [(0.5, 0.65, 0.03), (0.75, 0.75, 0.04)]
    assert tables.curve(scores, "mask/{x}/fold5") == [(0.5, 0.85, 0.0)]


def test_a_plot_is_drawn_of_what_is_there(scores, tmp_path):
    tables.draw(scores, {"x": "mask ratio", "curves": {"probe": "none/{x}/probe"}}, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    tables.draw(scores, {"x": "mask ratio", "curves": {"probe": "mask/{x}/probe"}}, tmp_path / "mask.png")
    assert (tmp_path / "mask.png").read_bytes().startswith(b"\x89PNG")


def commands(path):
    """Every command of a list once, as words; loops of the shell count as one each."""
    found = {part.strip() for step in run.read_steps(path).values() for part in step["command"].split("&&")}
    return [shlex.split(command) for command in sorted(found)]


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_every_command_of_the_lists_parses(path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    for words in commands(path):
        if words[0] in PROGRAMS:
            parser = importlib.import_module(PROGRAMS[words[0]]).build_parser()
            if words[0] == "maskspec-crossval":
                args = parser.parse_intermixed_args(words[1:])
                config, overrides = Path(args.config_dir, f"{args.config_name}.yaml"), args.overrides
            else:
                parser.parse_args(words[1:])
                continue
        elif words[0] == "fairseq-hydra-train":
            words = [word for word in words if word != "-m"]
            assert words[1] == "--config-dir" and words[3] == "--config-name"
            config, overrides = Path(words[2], f"{words[4]}.yaml"), words[5:]
        else:
            assert words[0] in SHELL, words
            continue
        assert config.is_file(), config
        assert len(OverridesParser.create().parse_overrides(overrides)) == len(overrides)


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_results_go_to_the_directory_of_the_list(path, monkeypatch, tmp_path):
    """Every recorded step is one of the list, so the list does not run it again."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        run.main([str(path), "--only", "nothing of this name"])
    assert not list(tmp_path.iterdir())
    out = REPOSITORY / "results" / path.stem
    assert run.RESULTS / path.stem == out and run.Experiments(path, out).recorded <= set(run.read_steps(path))
    scores = tables.read_scores(out / "runs.csv")
    assert tables.table(scores) == (out / "tables.md").read_text()
