import pytest

from maskspec_fairseq.training_log import log_entries, read_curves

LOG = """\
[2026-01-01 00:00:00,000][train_inner][INFO] - {"epoch": 1, "update": 0.5, "loss": "1.5", "baseline_loss": "1.1"}
[2026-01-01 00:00:00,000][fairseq.trainer][INFO] - begin training epoch 1
[2026-01-01 00:00:00,000][SUBSET][INFO] - {"epoch": 1, "SUBSET_loss": "0.9", "SUBSET_baseline_loss": "1.0"}
[2026-01-01 00:00:00,000][train][INFO] - {"epoch": 1, "train_loss": "1.2", "train_wall": "9"}
"""


@pytest.mark.parametrize("subset", ["valid", "test", "eval-2", "fold 5"])
def test_curves_are_read_whatever_the_held_out_subset_is_called(tmp_path, subset):
    (tmp_path / "hydra_train.log").write_text(LOG.replace("SUBSET", subset))
    assert read_curves(tmp_path / "hydra_train.log") == {
        ("train_inner", "loss"): [(0.5, 1.5)], ("train_inner", "baseline_loss"): [(0.5, 1.1)],
        (subset, "loss"): [(1.0, 0.9)], (subset, "baseline_loss"): [(1.0, 1.0)],
    }  # fmt: skip
    assert [kind for kind, _ in log_entries(tmp_path / "hydra_train.log")] == ["train_inner", subset, "train"]


def test_the_score_of_finetuning_is_read_too(tmp_path):
    log = tmp_path / "hydra_train.log"
    log.write_text('[t][fold1][INFO] - {"epoch": 2, "fold1_accuracy": "0.5", "fold1_class_mean_accuracy": "0.4"}\n')
    assert read_curves(log) == {("fold1", "accuracy"): [(2.0, 0.5)]}


def test_the_baseline_of_older_logs_is_found_by_its_old_name(tmp_path):
    old, new = tmp_path / "old.log", tmp_path / "new.log"
    new.write_text(LOG.replace("SUBSET", "valid"))
    old.write_text(new.read_text().replace("baseline_loss", "mean_loss"))
    assert "mean_loss" in old.read_text() and list(log_entries(old)) == list(log_entries(new))
    assert read_curves(old) == read_curves(new)


def test_a_log_without_such_lines_is_refused(tmp_path):
    (tmp_path / "empty.log").write_text("nothing\n")
    with pytest.raises(ValueError, match="empty.log: expected lines .* with common.log_format=json, found none"):
        read_curves(tmp_path / "empty.log")


def test_a_line_that_is_not_json_is_named(tmp_path):
    lines = ['{"epoch": 1, "train_loss": "1"}', '{"epoch": }']
    (tmp_path / "run.log").write_text("".join(f"[x][train][INFO] - {line}\n" for line in lines))
    with pytest.raises(ValueError, match=r"run.log, line 2: expected JSON, found {\"epoch\": } .*; remove the line"):
        list(log_entries(tmp_path / "run.log"))
