import gc
import logging
import signal
import sys
import weakref
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

from maskspec_fairseq import fairseq_compat
from maskspec_fairseq.criterions.maskspec_prediction import MaskSpecPredictionCriterion
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.manifest import join_manifests
from maskspec_fairseq.models.maskspec import MaskSpecConfig, MaskSpecModel
from tests.factories import SMALL_AUTOENCODER, pretraining_cfg, save_checkpoint, small_autoencoder
from tests.fairseq_factories import pretraining_task


def model_config(**kwargs):
    cfg = MaskSpecConfig(**SMALL_AUTOENCODER)
    cfg._name, cfg.sample_rate = "maskspec", 32000
    for name, value in kwargs.items():
        setattr(cfg, name, value)
    return OmegaConf.structured(cfg)


def test_model_gets_the_statistics_of_the_data(data_dir):
    model = pretraining_task(data_dir).build_model(model_config())
    assert model.front_end.mel_mean.abs().sum() > 0
    from_checkpoint = pretraining_task("/nowhere").build_model(model_config(), from_checkpoint=True)
    assert from_checkpoint.front_end.mel_mean.abs().sum() == 0


def test_relative_data_starts_from_the_launch_directory(data_dir):
    task = pretraining_task(data_dir.name, launch_dir=str(data_dir.parent))
    task.load_dataset("valid")
    assert len(task.dataset("valid")) == 8 and not task.dataset("valid").training


@pytest.mark.parametrize("name", ["restore_file", "finetune_from_model"])
def test_a_relative_checkpoint_to_start_from_is_read_below_the_launch_directory(data_dir, tmp_path, name):
    """fairseq reads the config once the model is built."""
    task = pretraining_task(data_dir, launch_dir=str(tmp_path))
    (tmp_path / "runs").mkdir()
    save_checkpoint(tmp_path / "runs" / "c.pt", small_autoencoder(), pretraining_cfg())
    checkpoint = {"restore_file": "checkpoint_last.pt", "finetune_from_model": None}
    cfg = OmegaConf.create({"model": model_config(), "checkpoint": checkpoint})
    task.build_model(cfg.model)
    assert cfg.checkpoint == checkpoint
    cfg.checkpoint[name] = "runs/c.pt"
    task.build_model(cfg.model)
    assert cfg.checkpoint == {**checkpoint, name: str(tmp_path / "runs" / "c.pt")}
    cfg.checkpoint[name] = "c.pt"
    with pytest.raises(ValueError, match=f"{tmp_path}/c.pt: expected a checkpoint of a maskspec run, found no such"):
        task.build_model(cfg.model)


def test_missing_data_is_refused(tmp_path, data_dir):
    with pytest.raises(ManifestError, match="expected a directory with manifests as task.data, found none at /nowhere"):
        pretraining_task("/nowhere").load_dataset("train")
    with pytest.raises(ManifestError, match="expected a manifest at .*train.tsv"):
        pretraining_task(tmp_path).load_dataset("train")
    with pytest.raises(ManifestError, match="front end 'reference', found those of paper; .* --front-end reference"):
        pretraining_task(data_dir).build_model(model_config(front_end="reference"))


def test_clips_shorter_than_a_patch_are_refused_before_training(data_dir):
    with pytest.raises(ValueError, match="at least 16 frames .* raise task.clip_sec"):
        pretraining_task(data_dir, clip_sec=0.1).build_model(model_config())


def test_clips_too_short_for_the_mask_ratio_are_refused_before_training(data_dir):
    # 0.17 s are 8 patches, of which 5 % are none
    with pytest.raises(ValueError, match="at least one masked and one visible patch, found 0 masked of 8"):
        pretraining_task(data_dir, clip_sec=0.17).build_model(model_config(mask_ratio=0.05))
    with pytest.raises(ValueError, match="at least one masked patch to decode, found a share of 0.1 of 6"):
        pretraining_task(data_dir, clip_sec=0.17).build_model(model_config(decoder_share=0.1))


def test_a_new_epoch_lets_go_of_what_holds_itself(data_dir):
    """As the iterators of fairseq 0.12.2 do, with their loader processes."""
    task, iterator = pretraining_task(data_dir), torch.nn.Identity()
    iterator.itself = [iterator]
    alive = weakref.ref(iterator)
    gc.disable()
    try:
        del iterator
        assert alive()
        task.begin_epoch(2, model=None)
        assert not alive()
    finally:
        gc.enable()


class InterruptedWhenFinalized:
    """Ctrl-C while the loaders of an epoch are let go of: Python ignores what `__del__` raises."""

    def __init__(self):
        self.itself = self

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_at_the_start_of_an_epoch_ends_the_run(data_dir, monkeypatch, capsys):
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()
    try:
        task = pretraining_task(data_dir)
        task.build_model(model_config())
        InterruptedWhenFinalized()
        with pytest.raises(KeyboardInterrupt):
            task.begin_epoch(2, model=None)
        with pytest.raises(KeyboardInterrupt):  # and where it is lost elsewhere, in the next update
            task.train_step(None, None, None, None, update_num=0)
        with pytest.raises(KeyboardInterrupt):
            task.valid_step(None, None, None)
        sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
        line = "interrupted; the same command resumes from the last checkpoint, if there is one\n"
        assert capsys.readouterr().err == line
        fairseq_compat.remember_interrupts()  # another run of the process
        task.begin_epoch(2, model=None)
    finally:
        gc.enable()
        signal.signal(signal.SIGINT, handler)


def test_forgotten_data_are_named_with_the_override(data_dir):
    with pytest.raises(ManifestError, match="as task.data, found none; add task.data=DATA_DIR"):
        pretraining_task("???").build_model(model_config())


@pytest.mark.parametrize("kwargs, precision", [({}, "float32"), (dict(bf16=True), "bf16")])
def test_a_run_says_first_where_and_how_it_trains(data_dir, caplog, monkeypatch, tmp_path, kwargs, precision):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.INFO):
        pretraining_task(data_dir, max_epoch=7, **kwargs).build_model(model_config())
    assert caplog.messages[0] == f"run directory {tmp_path}: starts; 7 epochs on the CPU in {precision}"
    save_checkpoint(tmp_path / "checkpoint_last.pt", small_autoencoder(), pretraining_cfg())
    caplog.clear()
    task = pretraining_task(data_dir, save_dir=str(tmp_path), max_epoch=7)
    with caplog.at_level(logging.INFO):
        task.build_model(model_config())
    assert f"{tmp_path}: resumes from {tmp_path}/checkpoint_last.pt; 7 epochs" in caplog.messages[0]
    task.load_dataset("train")
    caplog.clear()
    with caplog.at_level(logging.INFO, "maskspec_fairseq"):
        for epoch in (1, 2):
            task.get_batch_iterator(task.dataset("train"), max_sentences=5, seed=1, epoch=epoch)
    assert [line for line in caplog.messages if "updates" in line] == ["7 epochs of 5 updates, 35 in all"]


def test_no_clip_is_left_out_for_round_batches(data_dir):
    task = pretraining_task(data_dir)
    for split, clips in (("train", 24), ("valid", 8)):
        task.load_dataset(split)
        iterator = task.get_batch_iterator(
            task.dataset(split), max_sentences=5, required_batch_size_multiple=8, seed=1, epoch=1
        )
        assert sum(map(len, iterator.frozen_batches)) == clips and len(iterator.frozen_batches[0]) == 5


def test_the_schedule_is_told_the_length_of_an_epoch(data_dir, monkeypatch):
    monkeypatch.setattr(fairseq_compat, "_batches", None)
    task = pretraining_task(data_dir)
    for subset in ("train", "valid"):
        task.load_dataset(subset)
    for subset, shards, expected in [("valid", 1, None), ("train", 1, 5), ("train", 2, 3), ("valid", 1, 3)]:
        task.get_batch_iterator(
            task.dataset(subset), max_sentences=5, required_batch_size_multiple=1, num_shards=shards, seed=1, epoch=1
        )
        assert fairseq_compat.get_batches_per_epoch() == expected


def test_a_run_that_replaces_over_one_percent_ends(data_dir, caplog):
    task = pretraining_task(data_dir)
    task.load_dataset("train")
    dataset = task.datasets["train"]
    dataset.manifest = join_manifests([dataset.manifest] * 100)  # 2400 clips: up to 24 may be replaced
    criterion = MaskSpecPredictionCriterion(SimpleNamespace()).train()
    log = dict.fromkeys(("loss", "target_sum", "target_squares", "masked", "patches", "ntokens", "sample_size"), 1)
    log = dict(log, nsentences=100, replaced=2, skipped=0)
    for _ in range(12):
        task.reduce_metrics([log], criterion)
    criterion.eval()
    task.reduce_metrics([log], criterion)  # a validation counts for nothing
    criterion.train()
    with pytest.raises(RuntimeError, match="at most 1% of the clips to be unreadable, found 26 of 2400"):
        task.reduce_metrics([log], criterion)


def test_replaced_clips_are_logged(data_dir, caplog):
    task = pretraining_task(data_dir)
    sample = {"bad_audio": ["/x/y.wav: expected audio"]}
    with caplog.at_level(logging.WARNING), pytest.raises(AttributeError):
        task.train_step(sample, model=None, criterion=None, optimizer=None, update_num=0)
    assert "replaced by another clip: /x/y.wav: expected audio" in caplog.text


class Momentum:
    """As much of a fairseq optimizer as a step needs; with momentum, so that a step without a gradient is a step."""

    def __init__(self, model):
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        self.step = self.optimizer.step

    def backward(self, loss):
        self.optimizer.zero_grad()
        loss.backward()


def test_a_run_that_drops_too_many_batches_ends_with_their_clips(data_dir, caplog):
    task = pretraining_task(data_dir, max_skipped_updates=2)
    task.load_dataset("train")
    criterion = MaskSpecPredictionCriterion(SimpleNamespace())
    model = MaskSpecModel.build_model(model_config())
    optimizer = Momentum(model)
    loud = 1e30  # its power is infinite
    for update, gain in enumerate([1.0, loud, 1.0, loud, loud]):
        items = [task.dataset("train")[index] for index in (update, update + 10)]
        items[0]["waveform"] = items[0]["waveform"] * gain
        before = torch.cat([p.detach().flatten() for p in model.parameters()])
        _, _, log = task.train_step(task.dataset("train").collater(items), model, criterion, optimizer, update)
        task.optimizer_step(optimizer, model, update)
        after = torch.cat([p.detach().flatten() for p in model.parameters()])
        assert torch.equal(before, after) == (gain == loud)
        if update < 4:
            task.reduce_metrics([log], criterion)
    assert "update 2: dropped a batch whose loss is not finite, clips 1 (clip 01.wav), 11 (clip 11.wav)" in caplog.text
    with pytest.raises(FloatingPointError, match=r"except in 2 batches .* found 3 .* clips 4 \(clip 04.wav\), 14"):
        task.reduce_metrics([log], criterion)


def test_a_checkpoint_brings_no_dictionaries_and_no_lengths(data_dir):
    task = pretraining_task(data_dir)
    assert task.source_dictionary is None and task.target_dictionary is None and task.max_positions() is None
