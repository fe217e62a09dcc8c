from maskspec_fairseq.cli import plot_loss

LOG = """\
[2026-01-01 00:00:00,000][train_inner][INFO] - {"epoch": 1, "update": 0.5, "loss": "1.5", "baseline_loss": "1.1"}
[2026-01-01 00:00:00,000][fairseq.trainer][INFO] - begin training epoch 1
[2026-01-01 00:00:00,000][valid][INFO] - {"epoch": 1, "valid_loss": "0.9", "valid_baseline_loss": "1.0"}
[2026-01-01 00:00:00,000][train][INFO] - {"epoch": 1, "train_loss": "1.2"}
"""


def test_curves_are_read_from_the_log(tmp_path, capsys):
    (tmp_path / "hydra_train.log").write_text(LOG)
    assert plot_loss.read_curves(str(tmp_path / "hydra_train.log")) == {
        "train_inner loss": [(0.5, 1.5)], "train_inner baseline_loss": [(0.5, 1.1)],
        "valid loss": [(1.0, 0.9)], "valid baseline_loss": [(1.0, 1.0)],
    }  # fmt: skip
    out = tmp_path / "l.png"
    assert plot_loss.main([str(tmp_path / "hydra_train.log"), "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    (tmp_path / "empty.log").write_text("nothing\n")
    assert plot_loss.main([str(tmp_path / "empty.log")]) == 1
    assert "common.log_format=json, found none" in capsys.readouterr().err
    assert plot_loss.main([str(tmp_path / "hydra_train.log"), "--out", str(tmp_path / "no" / "l.png")]) == 1
    assert "No such file or directory" in capsys.readouterr().err
