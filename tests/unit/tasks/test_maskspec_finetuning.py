import shutil

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.digest import digest_clips
from maskspec_fairseq.data_dir.labels import ClipLabels, write_labels
from maskspec_fairseq.data_dir.manifest import read_manifest
from maskspec_fairseq.models.maskspec_classifier import layer_of
from maskspec_fairseq.optim.maskspec_adamw import MaskSpecAdamW, MaskSpecAdamWConfig
from tests.factories import (
    pretraining_cfg,
    save_checkpoint,
    small_autoencoder,
)
from tests.fairseq_factories import classifier_config, finetuning_task


def test_the_fold_is_held_out_and_the_others_train(folds):
    task = finetuning_task(folds, fold=2)
    for split in ("train", "valid"):
        task.load_dataset(split)
    train, valid = task.dataset("train"), task.dataset("valid")
    assert (len(train), len(valid)) == (16, 8) and train.training and not valid.training
    held_out = read_manifest(folds / "fold2.tsv").paths
    assert valid.manifest.paths == held_out and not set(train.manifest.paths) & set(held_out)
    assert [int(train.targets[i][0][1]) for i in range(4)] == [0, 1, 0, 1]


def test_model_is_built_for_the_labels_and_carries_them(folds):
    cfg = classifier_config()
    model = finetuning_task(folds, fold=1).build_model(cfg)
    assert model.head.out_features == 2 and list(cfg.label_keys) == ["low", "high"]
    assert list(cfg.label_names) == ["Low", "High"] and model.front_end.mel_mean.abs().sum() > 0
    # a checkpoint brings everything: no data are needed
    again = finetuning_task("/nowhere").build_model(cfg, from_checkpoint=True)
    assert again.head.out_features == 2


def test_pretrained_weights_are_loaded_from_the_launch_directory(folds):
    pretrained = small_autoencoder()
    save_checkpoint(folds / "p.pt", pretrained, pretraining_cfg())
    model = finetuning_task(folds, fold=1, launch_dir=str(folds)).build_model(classifier_config(pretrained="p.pt"))
    assert torch.equal(model.encoder.patch_embed.weight, pretrained.encoder.patch_embed.weight)
    assert torch.equal(model.front_end.mel_mean, pretrained.front_end.mel_mean)
    with pytest.raises(ValueError, match="none.pt: expected a checkpoint .* found no such file"):
        finetuning_task(folds, fold=1, launch_dir=str(folds)).build_model(classifier_config(pretrained="none.pt"))


@pytest.fixture()
def start(folds, tmp_path):
    """Builds the model of a run in `tmp_path/ckpt`, which starts from p.pt, and leaves a checkpoint."""
    save_dir = tmp_path / "ckpt"
    save_dir.mkdir()
    save_checkpoint(tmp_path / "p.pt", small_autoencoder(), pretraining_cfg())

    def build(pretrained="p.pt", **task):
        task = {"data": "data", "fold": 1, "launch_dir": str(tmp_path), "save_dir": str(save_dir), **task}
        task = finetuning_task(task.pop("data"), **task)
        cfg = classifier_config(pretrained=pretrained)
        model = task.build_model(cfg)
        configs = {"model": OmegaConf.to_container(cfg), "task": OmegaConf.to_container(task.cfg)}
        state = {"cfg": configs, "model": model.state_dict()}
        torch.save(state, save_dir / "checkpoint_last.pt")
        return model

    shutil.copytree(folds, tmp_path / "data", ignore=shutil.ignore_patterns("ckpt", "p.pt", "data"))
    return build


def test_a_run_resumes_where_its_data_have_moved_and_its_start_has_gone(start, tmp_path):
    start()
    (tmp_path / "data").rename(tmp_path / "moved")
    (tmp_path / "p.pt").unlink()
    assert start(data="moved").head.out_features == 2


def test_another_start_fold_or_data_is_refused_once_there_is_a_checkpoint(start, tmp_path):
    start()
    (tmp_path / "ckpt" / "checkpoint_last.pt").unlink()
    start(pretrained="")  # nothing was trained yet
    save_dir = tmp_path / "ckpt"
    refused = (
        f"{save_dir}: expected the run that has been trained there, found another one .{{}}.*another hydra.run.dir"
    )
    with pytest.raises(ValueError, match=refused.format("model.pretrained: expected none, found .*p.pt")):
        start()
    with pytest.raises(ValueError, match=refused.format("task.fold: expected 1, found 2; task.data: expected .*SHA")):
        start(pretrained="", fold=2)
    statistics = tmp_path / "data" / "mel_stats.json"
    statistics.write_text(statistics.read_text().replace("-", ""))
    with pytest.raises(ValueError, match=refused.format("log-mel statistics: expected .*mel_stats.json .SHA")):
        start(pretrained="")


def test_one_flag_resumes_a_run_that_has_changed_and_makes_it_the_run(start, caplog):
    start()
    start(pretrained="", resume_changed=True)
    assert "resuming a run that has changed (task.resume_changed): model.pretrained: expected /" in caplog.text
    start(pretrained="")
    with pytest.raises(ValueError, match="model.pretrained: expected none, found"):
        start()


def test_other_labels_of_the_same_clips_are_refused(start, tmp_path):
    start()
    path = tmp_path / "data" / "fold2.lbl"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    with pytest.raises(ValueError, match="task.data: expected .*SHA-256 .*found .*SHA-256"):
        start()


def test_other_classes_are_refused_with_the_number_of_the_first(start, tmp_path):
    start()
    path = tmp_path / "data" / "labels.csv"
    header, low, high = path.read_text().splitlines()
    path.write_text("\n".join([header, "0" + high[1:], "1" + low[1:], ""]))
    with pytest.raises(
        ValueError, match=r"label_keys: expected 2 of them \(number 0: low\), found 2 of them \(number 0: high\)"
    ):
        start()


def test_learning_rates_fall_from_layer_to_layer(folds, caplog):
    model = finetuning_task(folds, fold=1).build_model(classifier_config(encoder_layers=3, position_grid=[8, 6]))
    optimizer = MaskSpecAdamW(
        MaskSpecAdamWConfig(lr=[1.0], layer_decay=0.75, fp16=False, bf16=False), list(model.parameters())
    )
    optimizer.set_lr(0.5)
    scale = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        embedding = "patch_embed" in name or "learned_positions" in name
        layer = 0 if embedding else int(name.split(".")[2]) + 1 if "blocks" in name else 4
        assert scale[id(parameter)] == pytest.approx(0.5 * 0.75 ** (4 - layer)), name
        assert decay[id(parameter)] == (0.05 if parameter.dim() > 1 else 0), name
    assert decay[id(model.encoder.learned_positions)] == 0
    assert optimizer.get_lr() == 0.5
    assert layer_of("encoder.cls_token", 3) == 0 and layer_of("pool_norm.weight", 3) == 4
    other = MaskSpecAdamW(
        MaskSpecAdamWConfig(lr=[1.0], layer_decay=0.75, fp16=False, bf16=False), list(model.parameters())
    )
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    other.load_state_dict(optimizer.state_dict())
    other.set_lr(0.1)
    assert sorted(g["lr"] for g in other.param_groups) == pytest.approx(
        sorted(0.1 * g["lr_scale"] for g in optimizer.param_groups)
    )


def test_the_learning_rates_of_the_layers_are_logged_in_one_line(folds, caplog):
    model = finetuning_task(folds, fold=1).build_model(classifier_config())
    with caplog.at_level("INFO", "maskspec_fairseq.optim"):
        MaskSpecAdamW(MaskSpecAdamWConfig(lr=[1.0], layer_decay=0.5, fp16=False, bf16=False), list(model.parameters()))
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("maskspec_fairseq.optim")]
    assert lines == ["learning rate from x 0.12500 in layer 0 to x 1 in layer 3 (the head)"]


def test_layers_are_needed_for_layer_decay():
    with pytest.raises(ValueError, match="with a layer .param_group. for optimizer.layer_decay, found none"):
        MaskSpecAdamW(
            MaskSpecAdamWConfig(lr=[1.0], layer_decay=0.5, fp16=False, bf16=False),
            [torch.nn.Parameter(torch.zeros(2, 2))],
        )


def test_weighted_epochs_draw_by_the_weights(folds):
    write_labels(folds / "fold3.lbl", [ClipLabels(["low"])] * 8)  # 12 low, 4 high in folds 2 and 3
    task = finetuning_task(folds, fold=1, clip_sampling="psla", num_draws=4)
    for split in ("train", "valid"):
        task.load_dataset(split)
    train = task.dataset("train")
    drawn = []
    for epoch in range(1, 201):
        train.set_epoch(epoch)
        indices = train.ordered_indices()
        assert len(set(indices)) == len(indices) == 4
        drawn += [int(train.targets[i][0][1]) for i in indices]
    assert 0.35 < np.mean(drawn) < 0.55  # a quarter of the clips, a half of the weight, without replacement
    assert task.dataset("valid").ordered_indices().tolist() == list(range(8))


@pytest.mark.parametrize(
    "file, text, kwargs, message",
    [
        ("fold2.lbl", "low\n" * 7, {}, "fold2.lbl, line 8: expected one line for each of the 8 clips, found 7"),
        ("fold2.lbl", "low\n" * 7 + "mid\n", {}, "fold2.lbl, line 8: expected keys of labels.csv, found mid"),
        (
            "fold2.lbl",
            "low\n" * 7 + "low,high\n",
            {},
            "fold2.lbl, line 8: expected one class .* found 2 and 0; .*multilabel=true",
        ),
        ("fold2.lbl", "\n" * 8, dict(target_is_multilabel=True), "fold2.lbl: expected clips with classes, found none"),
        ("fold2.lbl", None, {}, "expected the labels of fold2 in .*fold2.lbl, found no such file"),
        ("labels.csv", None, {}, "expected the classes in .*labels.csv, found no such file"),
        ("fold2.tsv", "/\n", {}, "expected a root line and at least one clip, found no clip"),
        ("other", "", dict(fold=9), r"expected fold 9 \(task.fold\) and others, found folds 1, 2, 3"),
        ("other", "", dict(fold=0), "expected the subset valid, found folds 1, 2, 3; set task.fold to the one"),
    ],
)
def test_bad_data_are_refused(folds, file, text, kwargs, message):
    if text is None:
        (folds / file).unlink()
    else:
        (folds / file).write_text(text)
    with pytest.raises(ManifestError, match=message):
        finetuning_task(folds, **{"fold": 2, **kwargs}).load_dataset("valid")


def test_a_metric_that_there_is_not_is_refused_before_training(folds):
    for kwargs in (
        dict(best_checkpoint_metric="mAP"),
        dict(target_is_multilabel=True, best_checkpoint_metric="accuracy"),
        dict(target_is_multilabel=True, best_checkpoint_metric="skipped_classes"),
    ):
        with pytest.raises(ValueError, match=r"expected checkpoint.best_checkpoint_metric out of \('loss', "):
            finetuning_task(folds, fold=2, **kwargs).build_model(classifier_config())


@pytest.mark.parametrize("metric, maximize", [("loss", True), ("accuracy", False)])
def test_the_worst_epoch_does_not_become_the_best(folds, metric, maximize):
    kwargs = dict(best_checkpoint_metric=metric, maximize_best_checkpoint_metric=maximize)
    message = f"maximize_best_checkpoint_metric={str(not maximize).lower()} for .*={metric}, found"
    with pytest.raises(ValueError, match=message):
        finetuning_task(folds, fold=2, **kwargs).build_model(classifier_config())
    kwargs["maximize_best_checkpoint_metric"] = not maximize
    finetuning_task(folds, fold=2, **kwargs).build_model(classifier_config())


def test_a_single_fold_is_refused(folds):
    for name in ("fold2", "fold3"):
        (folds / f"{name}.tsv").unlink()
    with pytest.raises(ManifestError, match="expected fold 1 .* and others, found folds 1; set task.fold to one of"):
        finetuning_task(folds, fold=1).load_dataset("train")


def test_validation_on_the_training_subset_is_refused(folds):
    with pytest.raises(ValueError, match="without the training subset, found 'valid,train'; .* copy train.tsv"):
        finetuning_task(folds, fold=2, valid_subset="valid,train").build_model(classifier_config())


def test_unknown_sampling_is_refused(folds):
    with pytest.raises(ValueError, match="expected task.clip_sampling out of .* found 'ours'"):
        finetuning_task(folds, fold=1, clip_sampling="ours").load_dataset("train")


def test_the_former_name_of_clip_sampling_is_refused_with_the_new_one_but_in_a_checkpoint(folds):
    with pytest.raises(ValueError, match="found its former name task.sampling=psla; write task.clip_sampling=psla"):
        finetuning_task(folds, fold=1, sampling="psla").build_model(classifier_config())
    cfg = classifier_config(num_classes=2)
    assert finetuning_task(folds, fold=1, sampling="psla").build_model(cfg, from_checkpoint=True)


@pytest.fixture()
def with_events(folds):
    """Every clip of the folds sounds in its second quarter; of the first clip of each fold it is unknown when."""
    for fold in (1, 2, 3):
        manifest = read_manifest(folds / f"fold{fold}.tsv")
        keys = (folds / f"fold{fold}.lbl").read_text().split()
        lines = [f"{n // 4}:{n // 2}:{key}" for n, key in zip(manifest.frames.tolist(), keys)]
        (folds / f"fold{fold}.events").write_text("\n".join(["", *lines[1:], ""]))
    return folds


FRAMES = dict(target_is_multilabel=True, fold=1)


def test_a_head_of_frames_gets_targets_of_its_columns(with_events):
    task = finetuning_task(with_events, **FRAMES)
    model = task.build_model(classifier_config(head="frames"))
    for split in ("train", "valid"):
        task.load_dataset(split)
    valid = task.dataset("valid")
    sample = valid.collater([valid[0], valid[1]])
    logits = model.eval()(**sample["net_input"])
    assert logits.shape == sample["frame_target"].shape == (2, 6, 2)
    assert sample["frame_known"].all(dim=1).tolist() == [[False, True], [True, True]]
    assert sample["frame_target"][0].sum() == 0 and 0 < sample["frame_target"][1, :, 1].sum() < 6
    assert len(task.dataset("train")) == 16 and task.dataset("train")[15]["frame_target"].max() == 1


def test_a_checkpoint_brings_the_columns_of_its_head(with_events):
    cfg = classifier_config(head="frames")
    finetuning_task(with_events, **FRAMES).build_model(cfg)
    task = finetuning_task(with_events, **FRAMES)
    task.build_model(cfg, from_checkpoint=True)  # as fairseq-validate does
    task.load_dataset("valid")
    assert task.dataset("valid")[1]["frame_target"].shape == (6, 2)


def test_what_a_head_of_frames_cannot_be_trained_on_is_refused(with_events, folds):
    with pytest.raises(ValueError, match="target_is_multilabel=true for model.head=frames, found false; set it"):
        finetuning_task(with_events, fold=1).build_model(classifier_config(head="frames"))
    with pytest.raises(ValueError, match="found model.patchout=0.5; set it to 0"):
        finetuning_task(with_events, **FRAMES).build_model(classifier_config(head="frames", patchout=0.5))
    (with_events / "fold1.events").unlink()
    task = finetuning_task(with_events, **FRAMES)
    task.build_model(classifier_config(head="frames"))
    with pytest.raises(ManifestError, match="events of fold1 in .* for model.head=frames, found no such file; build"):
        task.load_dataset("valid")


def test_events_are_part_of_what_a_run_is_trained_on(with_events):
    before = digest_clips(str(with_events), ["fold1"], labels=True)
    path = with_events / "fold1.events"
    path.write_text(path.read_text().replace(":low", "1:low", 1))
    assert digest_clips(str(with_events), ["fold1"], labels=True) != before
