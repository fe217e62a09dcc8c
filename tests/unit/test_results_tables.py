"""results/tables.py: means over folds and seeds, and the points of a plot."""

import importlib.util
from pathlib import Path

import pytest

TABLES = Path(__file__).resolve().parents[2] / "results" / "tables.py"
RUNS = """step,accuracy,deviation,wall_s
pretrain/tiny,,,4946
tiny/pretrained/fold2,0.8000,,60
tiny/pretrained/fold1,0.7000,,60
mask/0.75/probe,0.7500,0.0400,9
mask/0.5/probe,0.6500,0.0300,9
mask/0.5/fold5,0.8500,,60
"""


@pytest.fixture
def tables():
    spec = importlib.util.spec_from_file_location("results_tables", TABLES)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def scores(tables, tmp_path):
    (tmp_path / "runs.csv").write_text(RUNS)
    return tables.read_scores(tmp_path / "runs.csv")


def test_folds_are_one_line_with_their_mean_and_deviation(tables, scores):
    lines = tables.table(scores).splitlines()[2:]
    assert lines == [
        "| tiny/pretrained | fold1 0.7000, fold2 0.8000 | 0.7500 | 0.071 |",
        "| mask/0.75/probe |  | 0.7500 | 0.040 |",
        "| mask/0.5/probe |  | 0.6500 | 0.030 |",
        "| mask/0.5 | fold5 0.8500 | 0.8500 |  |",
    ]


def test_a_curve_has_the_steps_of_its_pattern_by_x(tables, scores):
    assert tables.curve(scores, "mask/{x}/probe") == [(0.5, 0.65, 0.03), (0.75, 0.75, 0.04)]
    assert tables.curve(scores, "mask/{x}/fold5") == [(0.5, 0.85, 0.0)]


def test_a_plot_is_drawn_of_what_is_there(tables, scores, tmp_path):
    tables.draw(scores, {"x": "mask ratio", "curves": {"probe": "none/{x}/probe"}}, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    tables.draw(scores, {"x": "mask ratio", "curves": {"probe": "mask/{x}/probe"}}, tmp_path / "mask.png")
    assert (tmp_path / "mask.png").read_bytes().startswith(b"\x89PNG")
