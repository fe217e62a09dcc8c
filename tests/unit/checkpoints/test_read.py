import os
import pickle
import resource
import struct
import zipfile

import pytest
import torch

from maskspec_fairseq.checkpoints.read import (
    load_autoencoder,
    load_pretrained,
    read_checkpoint,
    read_torch_file,
)
from maskspec_fairseq.inference.load import load_model
from tests.factories import (
    TASK_CFG,
    Intruder,
    build_classifier,
    classifier_cfg,
    load_classifier,
    pretraining_cfg,
    save_checkpoint,
    save_foreign_checkpoint,
    small_autoencoder,
    small_classifier,
)

WAVEFORM = 0.1 * torch.randn(2, 32000, generator=torch.Generator().manual_seed(0))


def test_encoder_and_statistics_come_from_pretraining(tmp_path):
    pretrained = small_autoencoder()
    model = build_classifier(classifier_cfg())
    head = model.head.weight.clone()
    report = load_pretrained(model, classifier_cfg(), save_checkpoint(tmp_path / "p.pt", pretrained, pretraining_cfg()))
    for name, value in pretrained.encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], value)
    assert torch.equal(model.front_end(WAVEFORM), pretrained.front_end(WAVEFORM))
    assert torch.equal(model.head.weight, head) and "new head for 5 classes" in report


def test_a_finetuned_model_brings_its_head_for_the_same_classes_alone(tmp_path):
    path = save_checkpoint(tmp_path / "f.pt", small_classifier(), classifier_cfg())
    same, other = build_classifier(classifier_cfg()), build_classifier(classifier_cfg("abced"))
    assert ", head for 5 classes" in load_pretrained(same, classifier_cfg(), path)
    assert torch.equal(same.eval()(WAVEFORM), small_classifier().eval()(WAVEFORM))
    head = other.head.weight.clone()
    assert "new head" in load_pretrained(other, classifier_cfg("abced"), path)
    assert torch.equal(other.head.weight, head)
    assert torch.equal(other.encoder.patch_embed.weight, same.encoder.patch_embed.weight)


@pytest.mark.parametrize("norm_after_pool", [False, True])
def test_the_last_norm_of_pretraining_is_loaded_unless_the_norm_comes_after_pooling(tmp_path, norm_after_pool):
    """The released code replaces the norm of pretraining by a new one after pooling."""
    pretrained = small_autoencoder()
    torch.nn.init.normal_(pretrained.encoder.norm.weight)
    cfg = classifier_cfg(norm_after_pool=norm_after_pool)
    model = build_classifier(cfg)
    load_pretrained(model, cfg, save_checkpoint(tmp_path / "p.pt", pretrained, pretraining_cfg()))
    loaded = {name: value for name, value in model.state_dict().items() if "blocks" not in name and "norm" in name}
    if norm_after_pool:
        assert set(loaded) == {"pool_norm.weight", "pool_norm.bias"}
        assert torch.equal(model.pool_norm.weight, torch.ones(32))
    else:
        assert torch.equal(loaded["encoder.norm.weight"], pretrained.encoder.norm.weight)


@pytest.mark.parametrize("pool", ["frequency+max", "cls"])
def test_another_pooling_has_a_new_head(tmp_path, pool):
    path = save_checkpoint(tmp_path / "f.pt", small_classifier(cls_token=True), classifier_cfg(cls_token=True))
    cfg = classifier_cfg(cls_token=True, pool=pool)
    model = build_classifier(cfg)
    before = model.head.weight.clone()
    assert "new head for 5 classes" in load_pretrained(model, cfg, path)
    assert torch.equal(model.head.weight, before)


def test_attention_pooling_is_loaded_from_a_model_that_has_it(tmp_path):
    """With the head for the same classes, without it for others; a model that pools otherwise leaves it behind."""
    cfg = classifier_cfg(pool="attention")
    finetuned = small_classifier(pool="attention")
    torch.nn.init.normal_(finetuned.attention_pool.query)
    path = save_checkpoint(tmp_path / "f.pt", finetuned, cfg)
    assert torch.equal(load_classifier(path)[0](WAVEFORM), finetuned.eval()(WAVEFORM))
    same = build_classifier(cfg)
    assert ", head for 5 classes" in load_pretrained(same, cfg, path)
    assert torch.equal(same.eval()(WAVEFORM), finetuned.eval()(WAVEFORM))
    others = classifier_cfg("abc", pool="attention")
    other = build_classifier(others)
    assert "new head for 3 classes" in load_pretrained(other, others, path)
    assert torch.equal(other.attention_pool.query, finetuned.attention_pool.query)
    mean = build_classifier(classifier_cfg())
    assert "new head for 5 classes" in load_pretrained(mean, classifier_cfg(), path)


@pytest.mark.parametrize("before", ["pretrained", "finetuned by the mean"])
def test_attention_pooling_is_new_on_an_encoder_without_it(tmp_path, before):
    pretrained, found = small_autoencoder(), pretraining_cfg()
    if before != "pretrained":
        pretrained, found = small_classifier(), classifier_cfg()
    path = save_checkpoint(tmp_path / "p.pt", pretrained, found)
    cfg = classifier_cfg(pool="attention")
    model = build_classifier(cfg)
    query = model.attention_pool.query.clone()
    assert "new head for 5 classes" in load_pretrained(model, cfg, path)
    assert torch.equal(model.attention_pool.query, query)
    assert torch.equal(model.encoder.patch_embed.weight, pretrained.encoder.patch_embed.weight)


def test_learned_positions_begin_as_the_sinusoids_of_a_checkpoint_without(tmp_path):
    """The released code trains in finetuning the positions that its pretraining leaves as they are."""
    path = save_checkpoint(tmp_path / "f.pt", small_classifier(), classifier_cfg())
    cfg = classifier_cfg(position_grid=[8, 6])
    model = build_classifier(cfg)
    torch.nn.init.normal_(model.encoder.patch_embed.weight)
    load_pretrained(model, cfg, path)
    assert model.encoder.learned_positions.requires_grad
    torch.testing.assert_close(model.eval()(WAVEFORM), small_classifier().eval()(WAVEFORM), atol=1e-5, rtol=0)
    again = save_checkpoint(tmp_path / "again.pt", model, cfg)
    torch.nn.init.normal_(model.encoder.learned_positions)
    load_pretrained(model, cfg, again)
    torch.testing.assert_close(model(WAVEFORM), small_classifier().eval()(WAVEFORM), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (dict(front_end="reference"), r"\(front_end: expected paper, found reference\)"),
        (dict(patch_size=8), r"\(patch_size: expected 16, found 8\)"),
        (dict(position_grid=[8, 6]), r"\(position_grid: expected \[\], found \[8, 6\]\); model.FIELD=VALUE"),
        (dict(encoder_embed_dim=192), r"expected 32, found 192\); size=tiny on the command line"),
    ],
)
def test_another_encoder_is_refused(tmp_path, kwargs, message):
    path = save_checkpoint(tmp_path / "p.pt", small_autoencoder(), {**pretraining_cfg(), **kwargs})
    with pytest.raises(ValueError, match=message):
        load_pretrained(build_classifier(classifier_cfg()), classifier_cfg(), path)


def test_weights_missing_or_left_over_are_named(tmp_path):
    pretrained = small_autoencoder()
    del pretrained.encoder.blocks[1].mlp
    pretrained.encoder.extra = torch.nn.Linear(2, 2, bias=False)
    path = save_checkpoint(tmp_path / "p.pt", pretrained, pretraining_cfg())
    message = r"found no encoder.blocks.1.mlp.fc1.weight, .*, encoder.extra.weight, which it does not have"
    with pytest.raises(ValueError, match=message):
        load_pretrained(build_classifier(classifier_cfg()), classifier_cfg(), path)


def test_a_finetuned_checkpoint_comes_back_with_its_labels(tmp_path):
    model, cfg = load_classifier(save_checkpoint(tmp_path / "f.pt", small_classifier(), classifier_cfg()))
    assert torch.equal(model(WAVEFORM), small_classifier().eval()(WAVEFORM)) and not model.training
    assert cfg["model"]["label_names"] == list("abcde")
    path = save_checkpoint(tmp_path / "p.pt", small_autoencoder(), pretraining_cfg())
    with pytest.raises(
        ValueError, match="p.pt: expected a checkpoint of the model 'maskspec_classifier', found 'maskspec'"
    ):
        load_classifier(path)


def test_a_checkpoint_of_before_learned_positions_has_sinusoidal_ones(tmp_path):
    old = {name: value for name, value in classifier_cfg().items() if name != "position_grid"}
    path = save_checkpoint(tmp_path / "old.pt", small_classifier(), old)
    model, cfg = load_classifier(path)
    assert cfg["model"]["position_grid"] == [] and torch.equal(model(WAVEFORM), small_classifier().eval()(WAVEFORM))
    assert "head for 5 classes" in load_pretrained(build_classifier(classifier_cfg()), classifier_cfg(), path)


def test_a_checkpoint_of_before_shares_and_cross_attention_of_the_decoder_decodes_all(tmp_path):
    newer = ("decoder_share", "decoder_attention")
    old = {name: value for name, value in pretraining_cfg().items() if name not in newer}
    model, cfg = load_autoencoder(save_checkpoint(tmp_path / "old.pt", small_autoencoder(), old))
    assert model.decoder_share == cfg["model"]["decoder_share"] == 1.0
    assert model.decoder.memory_norm is None and cfg["model"]["decoder_attention"] == "self"
    _, cfg = load_classifier(save_checkpoint(tmp_path / "f.pt", small_classifier(), classifier_cfg()))
    assert "decoder_share" not in cfg["model"]  # fairseq would refuse a field that its model does not have


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, zipped):
    marker = tmp_path / "marker"
    path = save_foreign_checkpoint(tmp_path / "c.pt", marker, _use_new_zipfile_serialization=zipped)
    torch.load(path, weights_only=False)
    assert marker.exists()  # as it would be without care
    marker.unlink()
    cfg = classifier_cfg()
    for read in (load_autoencoder, load_classifier, lambda path: load_pretrained(build_classifier(cfg), cfg, path)):
        with pytest.raises(ValueError, match=r"c.pt: expected a checkpoint of a maskspec run, found: \w*\.?open in it"):
            read(path)
    assert not marker.exists()


def test_the_reason_of_a_refusal_does_not_recommend_to_go_on(tmp_path):
    with pytest.raises(ValueError, match="which is not data") as refused:
        load_autoencoder(save_foreign_checkpoint(tmp_path / "c.pt", tmp_path / "marker"))
    assert "it was not read any further, because that could run code of whoever wrote the file" in str(refused.value)
    assert "weights_only" not in str(refused.value) and "\n" not in str(refused.value)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    whole = (tmp_path / "whole.pt", small_autoencoder(), pretraining_cfg())
    save_checkpoint(*whole)
    (tmp_path / "cut.pt").write_bytes(whole[0].read_bytes()[:-500])
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "text.pt").write_text("no checkpoint\n")
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps(Intruder(tmp_path / "marker")))
    for name, value in {"list": [1], "other": {"cfg": "none"}, "half": {"cfg": {"model": None}}}.items():
        torch.save(value, tmp_path / f"{name}.pt")
    torch.save({"cfg": {"model": pretraining_cfg()}}, tmp_path / "weightless.pt")
    for path in sorted(set(tmp_path.glob("*.pt")) - {whole[0]}):
        with pytest.raises(ValueError, match=f"{path.name}: expected .*, found"):
            read_checkpoint(str(path), ("maskspec",))
    assert not (tmp_path / "marker").exists()
    with pytest.raises(ValueError, match="none.pt: expected a checkpoint of a maskspec run, found no such file"):
        read_checkpoint(str(tmp_path / "none.pt"), ("maskspec",))
    cfg = classifier_cfg()
    with pytest.raises(ValueError, match="none.pt: expected a checkpoint of a maskspec run, found no such file"):
        load_pretrained(build_classifier(cfg), cfg, str(tmp_path / "none.pt"))


def test_the_cure_fits_what_was_named(tmp_path, monkeypatch):
    def refused(path, message, models=("maskspec",)):
        with pytest.raises(ValueError, match=message):
            read_checkpoint(str(path), models)

    refused("maskspec_tiny_free", "found a folder; name the file of a checkpoint .* neither a decoder nor an optimizer")
    (tmp_path / "empty.pt").write_bytes(b"")
    refused(tmp_path / "empty.pt", "found: no file of torch.save; correct the path$")
    torch.save({"w": torch.zeros(1)}, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "found a file without the config of a model; name a checkpoint of a pretraining$")
    finetuned = save_checkpoint(tmp_path / "f.pt", build_classifier(classifier_cfg()), classifier_cfg())
    refused(finetuned, "found 'maskspec_classifier'; name a checkpoint of a pretraining$")
    refused(tmp_path / "w.pt", "of a pretraining or a finetuning$", ("maskspec", "maskspec_classifier"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "maskspec_tiny_free").write_bytes(b"")
    refused("maskspec_tiny_free", "found: no file of torch.save")  # what is here goes before the package's


def test_a_directory_and_a_config_without_a_field_are_named(tmp_path):
    with pytest.raises(ValueError, match="found a folder; name the file of a checkpoint"):
        load_autoencoder(str(tmp_path))
    cfg = pretraining_cfg()
    del cfg["dropout"]
    with pytest.raises(ValueError, match="expected the fields dropout in the model's config, found none"):
        load_autoencoder(save_checkpoint(tmp_path / "c.pt", small_autoencoder(), cfg))


@pytest.mark.parametrize(
    "section, field, value",
    [
        *(("model", "sample_rate", value) for value in (float("nan"), float("inf"), 32000.5, "32000", 10**9, 0, -1)),
        *(("task", "sample_rate", value) for value in (float("nan"), 44100.5)),
        *(("task", "clip_sec", value) for value in (float("nan"), 0, -1.0, 1e9, None)),
        ("model", "encoder_layers", 10**9),
        ("model", "encoder_embed_dim", 30),
        ("model", "position_grid", [8]),
        ("model", "front_end", "mel"),
        ("task", "channel", "middle"),
    ],
)
def test_a_field_that_no_model_has_is_refused_by_name(tmp_path, section, field, value):
    state = {"cfg": {"model": pretraining_cfg(), "task": dict(TASK_CFG)}, "model": small_autoencoder().state_dict()}
    state["cfg"][section][field] = value
    torch.save(state, tmp_path / "c.pt")
    for read in (load_model, load_autoencoder):
        with pytest.raises(ValueError, match=rf"c.pt: cfg.{section}: expected {field} to be .*, found "):
            read(str(tmp_path / "c.pt"))


def test_a_run_with_such_a_field_ends_before_its_model_is_built():
    with pytest.raises(ValueError, match="model: expected encoder_layers to be a whole number from 1 to 256, found 0"):
        build_classifier(classifier_cfg(encoder_layers=0))


@pytest.mark.parametrize("changes", [{"label_names": list("abcd")}, {"label_keys": []}, {"num_classes": 6}])
def test_labels_that_are_not_those_of_the_head_are_refused(tmp_path, changes):
    path = save_checkpoint(tmp_path / "f.pt", small_classifier(), {**classifier_cfg(), **changes})
    with pytest.raises(ValueError, match="f.pt: cfg.model: expected label_keys and label_names for each of the"):
        load_model(path)


def test_a_head_without_labels_is_dropped(tmp_path):
    """As maskspec-convert leaves it without --labels."""
    cfg = {**classifier_cfg(), "label_keys": [], "label_names": []}
    assert load_model(save_checkpoint(tmp_path / "f.pt", small_classifier(), cfg)).labels == []


def test_nothing_of_the_environment_is_filled_in(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "42")
    text = "${oc.env:SECRET}"
    cfg = {**classifier_cfg(), "label_names": [text, "${env:SECRET}", *"cde"], "pretrained": text}
    path = save_checkpoint(tmp_path / "f.pt", small_classifier(), cfg)
    assert read_checkpoint(path, ("maskspec_classifier",))["cfg"]["model"]["pretrained"] == text
    assert [label.name for label in load_model(path).labels[:2]] == [text, "${env:SECRET}"]


def test_an_archive_that_grows_when_it_is_read_is_refused_unread(tmp_path):
    """6 MB that would take 6 GB; and members that share their bytes."""
    whole = tmp_path / "whole.pt"
    torch.save({"weight": torch.zeros(10**7)}, whole)
    with zipfile.ZipFile(whole) as stored, zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    assert os.path.getsize(tmp_path / "packed.pt") < 10**5
    content = whole.read_bytes()
    directory = content.index(b"PK\x01\x02")
    with zipfile.ZipFile(whole) as stored:
        count, entries = len(stored.namelist()), content[directory : stored.start_dir + stored_size(content)]
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2 * count, 2 * count, 2 * len(entries), directory, 0)
    (tmp_path / "shared.pt").write_bytes(content[:directory] + 2 * entries + end)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in ("packed", "shared"):
        with pytest.raises(ValueError, match=rf"{name}.pt: .* bytes packed into \d+, which torch.save never does"):
            read_torch_file(str(tmp_path / f"{name}.pt"), "a file of weights")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024


def test_a_storage_of_the_older_format_is_no_larger_than_the_file(tmp_path):
    path = tmp_path / "old.pt"
    torch.save({"weight": torch.zeros(4)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert b"K\x04Nt" in content  # four numbers
    path.write_bytes(content.replace(b"K\x04Nt", b"J" + struct.pack("<i", 10**9) + b"Nt"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="old.pt: expected a file of weights, found: "):
        read_torch_file(str(path), "a file of weights")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024


def stored_size(content):
    """Bytes of the directory of a zip, by its end."""
    return struct.unpack("<L", content[content.rindex(b"PK\x05\x06") + 12 :][:4])[0]


@pytest.mark.parametrize("head", ["linear", "frames"])
def test_the_head_is_loaded_into_one_of_its_kind(tmp_path, head):
    source = small_classifier(head="frames")
    path = save_checkpoint(tmp_path / "c.pt", source, classifier_cfg(head="frames"))
    cfg = classifier_cfg(head=head)
    model = build_classifier(cfg)
    found = load_pretrained(model, cfg, path)
    assert torch.equal(model.head.weight, source.head.weight) == (head == "frames")
    assert ("new head" in found) == (head == "linear")


def test_a_checkpoint_of_before_there_were_heads_of_frames_has_one_of_clips(tmp_path):
    cfg = classifier_cfg()
    del cfg["head"]
    source = small_classifier()
    path = save_checkpoint(tmp_path / "c.pt", source, cfg)
    model = build_classifier(classifier_cfg())
    assert " head for" in load_pretrained(model, classifier_cfg(), path)
    assert torch.equal(model.head.weight, source.head.weight)
