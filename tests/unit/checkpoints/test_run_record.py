import hashlib
import json
from types import SimpleNamespace

import pytest

from maskspec_fairseq.checkpoints.run_record import differences_from_run, file_source, note_run, sha256
from tests.factories import classifier_cfg

TASK = dict(fold=1, clip_sec=10.0, channel="mix", train_subset="train")


def last_cfg(**model):
    """The config in the checkpoint of a run that was started in /launch."""
    task = {**TASK, "data": "data/esc50", "launch_dir": "/launch"}
    return {
        "model": classifier_cfg("abc", pretrained="p.pt", **model), "task": task, "dataset": {"train_subset": "train"},
        "checkpoint": {"finetune_from_model": None},
    }  # fmt: skip


def compare(save_dir, sources, task=None, **model):
    task = SimpleNamespace(**{**TASK, **(task or {})})
    return differences_from_run(str(save_dir), last_cfg(), {**last_cfg()["model"], **model}, task, sources)


def test_the_digest_is_that_of_sha256sum(tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 3_000_000)
    assert sha256(tmp_path / "f") == hashlib.sha256(b"x" * 3_000_000).hexdigest()


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"dropout": 0.1}, "model.dropout: expected 0.0, found 0.1"),
        ({"front_end": "reference"}, "model.front_end: expected paper, found reference"),
        ({"patch_size": [16, 8]}, "model.patch_size: expected 16, found [16, 8]"),
        ({"position_grid": [8, 62]}, "model.position_grid: expected [], found [8, 62]"),
        (
            {"label_keys": list("acb")},
            "model.label_keys: expected 3 of them (number 1: b), found 3 of them (number 1: c)",
        ),
        ({"task": {"fold": 2}}, "task.fold: expected 1, found 2"),
        ({"task": {"clip_sec": 5.0}}, "task.clip_sec: expected 10.0, found 5.0"),
        ({"task": {"train_subset": "train,more"}}, "dataset.train_subset: expected train, found train,more"),
    ],
)
def test_another_model_or_task_is_named_with_both_values(tmp_path, changed, message):
    assert compare(tmp_path, {}) == [] and compare(tmp_path, {}, **changed) == [message]


def test_what_only_one_side_knows_and_names_of_labels_may_differ(tmp_path):
    """An older run has fewer fields; a label's text is for people."""
    assert compare(tmp_path, {}, a_newer_field=1, label_names=["x", "y", "z"], pretrained="elsewhere.pt") == []


def test_files_are_compared_by_what_they_hold(tmp_path):
    for name, content in (("a.pt", b"one"), ("copy.pt", b"one"), ("b.pt", b"two")):
        (tmp_path / name).write_bytes(content)
    source = {name: file_source(str(tmp_path / f"{name}.pt")) for name in ("a", "copy", "b", "gone")}
    note_run(str(tmp_path), {"model.pretrained": source["a"]})
    assert compare(tmp_path, {"model.pretrained": source["copy"]}) == []
    (other,) = compare(tmp_path, {"model.pretrained": source["b"]})
    assert f"expected {tmp_path}/a.pt (SHA-256 {source['a']['sha256'][:12]}), found {tmp_path}/b.pt (SHA" in other
    (none,) = compare(tmp_path, {"model.pretrained": file_source("")})
    assert none.endswith("found none")
    (gone,) = compare(tmp_path, {"model.pretrained": source["gone"]})
    assert gone.endswith("found " + str(tmp_path / "gone.pt"))
    (tmp_path / "a.pt").write_bytes(b"trained on")
    assert len(compare(tmp_path, {"model.pretrained": file_source(str(tmp_path / "a.pt"))})) == 1


def test_a_file_that_has_gone_is_remembered(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(b"one")
    note_run(str(tmp_path), {"model.pretrained": file_source(str(path))})
    noted = (tmp_path / "run.json").read_text()
    path.unlink()
    gone = {"model.pretrained": file_source(str(path))}
    assert compare(tmp_path, gone) == []
    note_run(str(tmp_path), gone)
    assert (tmp_path / "run.json").read_text() == noted
    path.write_bytes(b"two")
    assert len(compare(tmp_path, {"model.pretrained": file_source(str(path))})) == 1


def test_an_older_run_is_known_by_the_paths_in_its_config(tmp_path):
    known = {"path": "/launch/data/esc50", "sha256": "0" * 64}
    sources = {"task.data": known, "model.pretrained": {"path": "/launch/p.pt", "sha256": None}, "log-mel": known}
    assert compare(tmp_path, {**sources, "checkpoint.finetune_from_model": None}) == []
    other = {**known, "path": "/launch/data/esc10"}
    assert compare(tmp_path, {"task.data": other, "model.pretrained": None}) == [
        "task.data: expected /launch/data/esc50, found /launch/data/esc10 (SHA-256 000000000000)",
        "model.pretrained: expected /launch/p.pt, found none",
    ]


@pytest.mark.parametrize("content", ["", "[]", json.dumps({"task.data": "x"}), json.dumps({"task.data": {"path": 1}})])
def test_a_record_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match="run.json: expected the files that the run started from, .*; remove it"):
        compare(tmp_path, {})


def test_how_embeddings_are_pooled_may_change(tmp_path):
    """Nothing is pooled in pretraining."""
    last = {**last_cfg(), "model": {"mask_ratio": 0.75, "embedding_pool": "mean"}}
    model = {"mask_ratio": 0.75, "embedding_pool": "frequency"}
    assert differences_from_run(str(tmp_path), last, model, SimpleNamespace(**TASK), {}) == []
