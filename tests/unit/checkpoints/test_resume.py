import logging
import os
import pickle

import pytest
import torch

from maskspec_fairseq.checkpoints.resume import check_start, own_checkpoints, read_last_config
from tests.factories import (
    Intruder,
    classifier_cfg,
    pretraining_cfg,
    save_checkpoint,
    save_foreign_checkpoint,
    small_autoencoder,
    small_classifier,
)


def save(path, epoch: int, updates: int, in_epoch: int = 0, cfg=None) -> bytes:
    """A checkpoint as fairseq saves it at the end of an epoch, or in its midst after `in_epoch` updates."""
    iterator = {"epoch": epoch if in_epoch else epoch + 1, "iterations_in_epoch": in_epoch}
    state = {
        "cfg": {"model": cfg or pretraining_cfg(), "task": {}},
        "model": {"weight": torch.full((1000,), float(updates))},
        "optimizer_history": [{"num_updates": updates}],
        "extra_state": {"train_iterator": iterator},
    }
    torch.save(state, path)
    return path.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_an_interrupted_copy_is_finished(tmp_path, caplog, share):
    save(tmp_path / "checkpoint9.pt", 9, 90)
    newest = save(tmp_path / "checkpoint10.pt", 10, 100)
    last = tmp_path / "checkpoint_last.pt"
    last.write_bytes(newest[: int(share * len(newest))])
    with caplog.at_level(logging.WARNING):
        assert read_last_config(str(tmp_path))["model"] == pretraining_cfg()
    assert last.read_bytes() == newest
    assert "checkpoint_last.pt is the beginning of a copy of" in caplog.text and "checkpoint10.pt" in caplog.text
    assert sorted(os.listdir(tmp_path)) == ["checkpoint10.pt", "checkpoint9.pt", "checkpoint_last.pt"]


def test_only_checkpoints_that_the_run_has_written_stand_in(tmp_path):
    """Newest first; what lies next to them under another name, or under a name that is not its own, does not count."""
    save(tmp_path / "checkpoint_2_15.pt", 2, 15, in_epoch=5)
    save(tmp_path / "checkpoint_best.pt", 1, 10)
    save(tmp_path / "checkpoint.best_loss_0.5001.pt", 1, 10)
    save(tmp_path / "checkpoint2.pt", 2, 20)
    own = {path.name: path for path in tmp_path.iterdir()}
    save(tmp_path / "checkpoint_average.pt", 2, 20)
    save(tmp_path / "checkpoint5.pt", 2, 20)
    save(tmp_path / "checkpoint_2_30.pt", 2, 15, in_epoch=5)
    (tmp_path / "checkpoint4.pt").write_bytes(save(tmp_path / "checkpoint_last.pt", 4, 40)[:700])
    (tmp_path / "checkpoint6.pt").write_bytes(b"something else")
    torch.save({"cfg": {"model": pretraining_cfg()}, "model": {}}, tmp_path / "checkpoint7.pt")
    found = own_checkpoints(str(tmp_path))
    assert set(found) == set(own.values())
    assert [path.name for path in found[:2]] == ["checkpoint2.pt", "checkpoint_2_15.pt"]


def test_an_average_does_not_take_the_place_of_an_empty_last_checkpoint(tmp_path):
    save(tmp_path / "checkpoint_average.pt", 2, 20)
    (tmp_path / "checkpoint_last.pt").touch()
    with pytest.raises(ValueError, match="found a file that is cut off; remove it to start from scratch"):
        read_last_config(str(tmp_path))
    assert (tmp_path / "checkpoint_last.pt").stat().st_size == 0
    epoch = save(tmp_path / "checkpoint1.pt", 1, 10)
    read_last_config(str(tmp_path))
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == epoch


def test_another_file_that_is_cut_off_is_refused_and_the_newest_whole_one_offered(tmp_path):
    save(tmp_path / "checkpoint_3_50.pt", 3, 50, in_epoch=10)
    save(tmp_path / "checkpoint2.pt", 2, 40)
    half = save(tmp_path / "checkpoint3.pt", 3, 60)
    (tmp_path / "checkpoint3.pt").write_bytes(half[:700])
    lost = save(tmp_path / "checkpoint_last.pt", 4, 80)[:-100]
    (tmp_path / "checkpoint_last.pt").write_bytes(lost)
    with pytest.raises(
        ValueError, match=r"checkpoint_last.pt: expected a complete .*`cp \S+checkpoint_3_50.pt \S+last.pt"
    ):
        read_last_config(str(tmp_path))
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == lost


def test_a_whole_file_and_no_file_are_left_alone(tmp_path):
    assert read_last_config(str(tmp_path / "nowhere")) is None
    whole = save(tmp_path / "checkpoint_last.pt", 1, 10)
    save(tmp_path / "checkpoint9.pt", 9, 90)
    read_last_config(str(tmp_path))
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == whole


@pytest.mark.parametrize("plain", [True, False])
def test_a_foreign_pickle_is_refused_unread(tmp_path, plain):
    """As the last checkpoint and as one to start from: a pickle alone, and one in the container of torch.save."""
    path, marker = tmp_path / "checkpoint_last.pt", tmp_path / "marker"
    if plain:
        path.write_bytes(pickle.dumps({"model": Intruder(marker)}))
    else:
        save_foreign_checkpoint(path, marker)
    message = r"checkpoint_last.pt: expected a checkpoint of a maskspec run, found: (\w+.open in it|more than data)"
    with pytest.raises(ValueError, match=message) as last:
        read_last_config(str(tmp_path))
    with pytest.raises(ValueError, match=message):
        check_start(str(path), pretraining_cfg())
    assert not marker.exists() and "weights_only" not in str(last.value)


def test_a_checkpoint_to_start_from_is_there_and_of_the_model_that_is_trained(tmp_path):
    path = save_checkpoint(tmp_path / "c.pt", small_classifier(3), classifier_cfg("abc"))
    check_start(path, classifier_cfg("abc", dropout=0.5))
    with pytest.raises(ValueError, match="none.pt: expected a checkpoint of a maskspec run, found no such file"):
        check_start(str(tmp_path / "none.pt"), classifier_cfg("abc"))
    with pytest.raises(ValueError, match="of the model 'maskspec', found 'maskspec_classifier'"):
        check_start(path, pretraining_cfg())
    with pytest.raises(ValueError, match=r"another one \(model.label_keys: .*number 1: b.; model.pool: expected"):
        check_start(path, classifier_cfg("acb", pool="cls"))


def test_a_checkpoint_to_start_from_has_the_weights_that_its_config_describes(tmp_path):
    model = small_autoencoder()
    check_start(save_checkpoint(tmp_path / "c.pt", model, pretraining_cfg()), pretraining_cfg(mask_ratio=0.5))
    del model.decoder
    path = save_checkpoint(tmp_path / "no_decoder.pt", model, pretraining_cfg())
    with pytest.raises(ValueError, match=r"no_decoder.pt: expected the weights of the model .*, found no decoder\.\w+"):
        check_start(path, pretraining_cfg())
