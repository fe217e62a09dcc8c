import warnings

import pytest
from matplotlib.figure import Figure

from maskspec_fairseq.cli import plot_loss

LOG = """\
[2026-01-01 00:00:00,000][train_inner][INFO] - {"epoch": 1, "update": 0.5, "loss": "1.5", "baseline_loss": "1.1"}
[2026-01-01 00:00:00,000][test][INFO] - {"epoch": 1, "test_loss": "0.9", "test_baseline_loss": "1.0"}
"""
FINETUNING_LOG = """\
[2026-01-01 00:00:00,000][train_inner][INFO] - {"epoch": 1, "update": 0.5, "loss": "1.5"}
[2026-01-01 00:00:00,000][fold1][INFO] - {"epoch": 1, "fold1_loss": "0.9", "fold1_SCORE": "0.25"}
"""
MEAN = ", always predicting the mean"
PRETRAINING = {
    "squared error per masked value": ["training", f"training{MEAN}", "held out (test)", f"held out (test){MEAN}"]
}
FINETUNING = {"loss": ["training", "held out (fold1)"], "SCORE": ["held out (fold1)"]}


@pytest.mark.parametrize(
    "log, panels",
    [
        (LOG, PRETRAINING),
        *(
            (
                FINETUNING_LOG.replace("SCORE", score),
                {score if name == "SCORE" else name: labels for name, labels in FINETUNING.items()},
            )
            for score in ("accuracy", "mAP")
        ),
    ],
    ids=["pretraining", "accuracy", "mAP"],
)
def test_every_curve_is_drawn_and_named(tmp_path, capsys, monkeypatch, log, panels):
    drawn, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *args, **kw: (drawn.append(figure), save(figure, *args, **kw))
    )
    (tmp_path / "hydra_train.log").write_text(log)
    assert plot_loss.main([str(tmp_path / "hydra_train.log"), "--out", str(tmp_path / "l")]) == 0
    assert (tmp_path / "l.png").read_bytes().startswith(b"\x89PNG")
    assert f"{tmp_path}/l.png: train_inner loss 1.5000 at epoch 0.5, " in capsys.readouterr().out
    found = {axis.get_ylabel(): [line.get_label() for line in axis.lines] for axis in drawn[0].axes}
    assert found == panels and drawn[0].get_suptitle() == str(tmp_path)
    for axis in drawn[0].axes:
        assert len({(line.get_color(), line.get_linestyle()) for line in axis.lines}) == len(axis.lines)
        assert axis.get_ylim()[0] == 0 and (axis.get_ylabel() not in ("accuracy", "mAP") or axis.get_ylim()[1] == 1)


def test_a_run_called_in_japanese_is_drawn_without_warnings(tmp_path):
    (tmp_path / "音").mkdir()
    (tmp_path / "音" / "hydra_train.log").write_text(LOG)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plot_loss.main([str(tmp_path / "音" / "hydra_train.log"), "--out", str(tmp_path / "l.png")]) == 0


def test_what_cannot_be_drawn_is_refused_in_a_line(tmp_path, capsys):
    (tmp_path / "hydra_train.log").write_text(LOG)
    (tmp_path / "empty.log").write_text("nothing\n")
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x80\xff\n")
    for log, out, message in [
        ("empty.log", "l.png", "common.log_format=json, found none"),
        ("checkpoint.pt", "l.png", "checkpoint.pt: expected lines of a training run"),
        ("none.log", "l.png", "none.log: No such file or directory"),
        ("hydra_train.log", "no/l.png", "l.png: No such file or directory"),
    ]:
        assert plot_loss.main([str(tmp_path / log), "--out", str(tmp_path / out)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("maskspec-plot-loss: ") and message in error and error.count("\n") == 1
