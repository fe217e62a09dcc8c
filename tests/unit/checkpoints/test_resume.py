import logging
import os

import pytest
import torch

from maskspec_fairseq.checkpoints.resume import check_last_checkpoint


def save(path, value: float, mtime: int) -> bytes:
    torch.save({"model": {"weight": torch.full((1000,), value)}}, path)
    os.utime(path, (mtime, mtime))
    return path.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_an_interrupted_copy_is_finished(tmp_path, caplog, share):
    save(tmp_path / "checkpoint1.pt", 1.0, 1)
    newest = save(tmp_path / "checkpoint2.pt", 2.0, 2)
    last = tmp_path / "checkpoint_last.pt"
    last.write_bytes(newest[: int(share * len(newest))])
    with caplog.at_level(logging.WARNING):
        check_last_checkpoint(str(tmp_path))
    assert last.read_bytes() == newest
    assert "checkpoint_last.pt is the beginning of a copy of" in caplog.text and "checkpoint2.pt" in caplog.text
    assert sorted(os.listdir(tmp_path)) == ["checkpoint1.pt", "checkpoint2.pt", "checkpoint_last.pt"]


def test_another_file_that_is_cut_off_is_refused_and_the_newest_whole_one_offered(tmp_path):
    save(tmp_path / "checkpoint_1_50.pt", 1.0, 3)
    save(tmp_path / "checkpoint2.pt", 2.0, 2)
    half = save(tmp_path / "checkpoint3.pt", 3.0, 4)
    (tmp_path / "checkpoint3.pt").write_bytes(half[:700])
    lost = save(tmp_path / "checkpoint_last.pt", 4.0, 5)[:-100]
    (tmp_path / "checkpoint_last.pt").write_bytes(lost)
    with pytest.raises(
        ValueError, match=r"checkpoint_last.pt: expected a complete .*`cp \S+checkpoint_1_50.pt \S+last.pt"
    ):
        check_last_checkpoint(str(tmp_path))
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == lost


def test_without_another_one_starting_anew_is_offered(tmp_path):
    (tmp_path / "checkpoint_last.pt").write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(ValueError, match="found a file that is cut off; remove it to start from scratch"):
        check_last_checkpoint(str(tmp_path))


def test_a_whole_file_and_no_file_are_left_alone(tmp_path):
    check_last_checkpoint(str(tmp_path / "nowhere"))
    whole = save(tmp_path / "checkpoint_last.pt", 1.0, 1)
    save(tmp_path / "checkpoint9.pt", 2.0, 2)
    check_last_checkpoint(str(tmp_path))
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == whole
