"""maskspec-average against numpy's mean in float64."""

import os
import resource
import signal
import weakref

import numpy as np
import pytest
import torch

from maskspec_fairseq.checkpoints import average as averaging
from maskspec_fairseq.checkpoints.average import BEST, TRAINING_FIELDS, average_checkpoints, choose_checkpoints
from maskspec_fairseq.checkpoints.check import STATISTICS
from maskspec_fairseq.checkpoints.read import load_autoencoder
from maskspec_fairseq.checkpoints.write import write_checkpoint
from maskspec_fairseq.cli import average
from maskspec_fairseq.models.maskspec import MaskSpecConfig
from maskspec_fairseq.models.maskspec_classifier import MaskSpecClassifierConfig
from tests.factories import TASK_CFG, classifier_cfg, pretraining_cfg, save_foreign_checkpoint, small_autoencoder


def weights(seed):
    """Random weights in the names and shapes of a small model, with its statistics and a counter."""
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: value if name in STATISTICS else torch.randn(value.shape, generator=generator)
        for name, value in small_autoencoder().state_dict().items()
    }
    return {**state, "steps": torch.tensor(10 + seed)}


def save(path, seed=0, cfg=None, maximize=True, dtype=torch.float32, **changes):
    model = {**weights(seed), **changes}
    model = {name: value.to(dtype) if value.is_floating_point() else value for name, value in model.items()}
    checkpoint = {"maximize_best_checkpoint_metric": maximize}
    state = {
        "cfg": {"model": cfg or pretraining_cfg(), "task": {"clip_sec": 1.0}, "checkpoint": checkpoint},
        "model": model,
        "last_optimizer_state": {"state": {0: {"exp_avg": torch.full((2,), float(seed))}}},
        "extra_state": {"train_iterator": {"epoch": seed}},
    }
    torch.save(state, path)
    return str(path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_weights_are_the_mean(tmp_path, dtype, count):
    paths = [save(tmp_path / f"{seed}.pt", seed, dtype=dtype) for seed in range(count)]
    result = average_checkpoints(paths)["model"]
    files = [torch.load(path, weights_only=True)["model"] for path in paths]
    assert list(result) == list(files[0])
    for name, value in result.items():
        if name in (*STATISTICS, "steps"):
            continue
        expected = np.mean([file[name].double().numpy() for file in files], axis=0)
        assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        np.testing.assert_allclose(value.numpy(), expected, rtol=0, atol=1e-6)


def test_the_mean_is_summed_in_float32_in_the_order_of_the_files(tmp_path):
    """As fairseq's script does: bit for bit the same weights."""
    paths = [save(tmp_path / f"{seed}.pt", seed) for seed in (3, 1, 2)]
    files = [weights(seed) for seed in (3, 1, 2)]
    for name, value in average_checkpoints(paths)["model"].items():
        if name not in (*STATISTICS, "steps"):
            total = (files[0][name].numpy() + files[1][name].numpy()) + files[2][name].numpy()
            np.testing.assert_array_equal(value.numpy(), total / np.float32(3))


def test_statistics_and_integers_are_kept(tmp_path):
    odd = torch.rand(128, generator=torch.Generator().manual_seed(1)) - 7  # of which a mean of three may be rounded
    paths = [save(tmp_path / f"{seed}.pt", seed, **{STATISTICS[0]: odd}) for seed in range(3)]
    result = average_checkpoints(paths)["model"]
    assert torch.equal(result[STATISTICS[0]], odd)
    assert torch.equal(result[STATISTICS[1]], weights(0)[STATISTICS[1]])
    assert result["steps"] == 10 and result["steps"].dtype == torch.int64


def test_all_else_is_the_first_files_but_for_the_master_weights(tmp_path):
    paths = [save(tmp_path / f"{seed}.pt", seed) for seed in (4, 2)]
    first = torch.load(paths[0], weights_only=True)
    first["last_optimizer_state"]["master"] = [torch.ones(2)]
    torch.save(first, paths[0])
    result = average_checkpoints(paths)
    assert result["cfg"] == first["cfg"] and result["extra_state"] == {"train_iterator": {"epoch": 4}}
    assert list(result["last_optimizer_state"]) == ["state"]
    assert result["last_optimizer_state"]["state"][0]["exp_avg"].tolist() == [4, 4]
    del first["last_optimizer_state"]  # checkpoint.no_save_optimizer_state
    torch.save(first, paths[0])
    assert set(average_checkpoints(paths)) == {"cfg", "model", "extra_state"}


def test_weights_that_share_a_storage_are_added_once(tmp_path):
    shared = torch.ones(3)
    paths = [save(tmp_path / f"{seed}.pt", seed, one=shared, two=shared) for seed in range(3)]
    result = average_checkpoints(paths)["model"]
    assert torch.equal(result["one"], shared) and torch.equal(result["two"], shared)


@pytest.mark.parametrize(
    "cfg, changes, message",
    [
        (dict(encoder_layers=3), {}, r"\(encoder_layers: expected 2, found 3\)"),
        (dict(cls_token=True, front_end="reference"), {}, r"cls_token: expected False, .*; front_end: expected paper"),
        (dict(decoder_layers=9), {}, r"decoder_layers: expected 2, found 9"),
        ({}, {"extra": torch.ones(2)}, r"\(none missing and extra left over\)"),
        ({}, {"steps": torch.ones(2)}, r"steps: expected \(\), found \(2,\)"),
        ({}, {STATISTICS[0]: torch.full((128,), -4.5)}, r"mel_mean: log-mel statistics that differ by up to 0.5\)"),
    ],
)
def test_another_model_is_refused_by_both_names(tmp_path, cfg, changes, message):
    first = save(tmp_path / "a.pt", 1)
    second = save(tmp_path / "b.pt", 2, {**pretraining_cfg(), **cfg}, **changes)
    with pytest.raises(ValueError, match=f"b.pt: expected a model like that of .*a.pt, found another one .*{message}"):
        average_checkpoints([first, first, second])


def test_other_labels_are_refused(tmp_path):
    first = save(tmp_path / "a.pt", 1, classifier_cfg("abcde"))
    for labels, message in [
        ("abdce", r"label_keys: expected 5 of them \(number 2: c\), found 5 of them \(number 2: d\)"),
        ("abcdef", r"label_keys: expected 5 of them \(number 5: none\), found 6 of them \(number 5: f\)"),
    ]:
        with pytest.raises(ValueError, match=f"b.pt: expected a model like that of .*a.pt, .*{message}"):
            average_checkpoints([first, save(tmp_path / "b.pt", 2, classifier_cfg(labels))])
    with pytest.raises(ValueError, match="_name: expected maskspec_classifier, found maskspec"):
        average_checkpoints([first, save(tmp_path / "b.pt", 2)])


def test_runs_that_were_trained_in_another_way_are_averaged(tmp_path):
    others = dict(pretrained="p.pt", mel_jitter=True, dropout=0.1, drop_path=0.2, patchout=0.5)
    others.update(spec_augment_bins=8, spec_augment_frames=9)
    paths = [save(tmp_path / f"{seed}.pt", seed, classifier_cfg(**kw)) for seed, kw in enumerate([{}, others])]
    assert average_checkpoints(paths)["cfg"]["model"] == classifier_cfg()
    known = {*MaskSpecConfig.__dataclass_fields__, *MaskSpecClassifierConfig.__dataclass_fields__}
    assert known >= set(TRAINING_FIELDS) >= set(others)


@pytest.fixture()
def checkpoints(tmp_path):
    """What a run leaves: the files are named after the seed of their weights, scores apart."""
    directory = tmp_path / "checkpoints"
    directory.mkdir()
    for epoch in (1, 2, 3, 8, 9, 10, 11):
        save(directory / f"checkpoint{epoch}.pt", epoch)
    for update in (20, 40, 80, 100):
        save(directory / f"checkpoint_{1 + update // 50}_{update}.pt", update)
    for score, seed in {"0.9123": 50, "0.8999": 51, "0.91": 52, "1.0002": 53}.items():
        save(directory / f"checkpoint.best_accuracy_{score}.pt", seed)
    for name in ("checkpoint_last.pt", "checkpoint_best.pt", "checkpoint12.pt.tmp", "checkpoint13-rank-1.pt"):
        (directory / name).write_text("not to be read")
    return directory


@pytest.mark.parametrize(
    "arguments, seeds",
    [
        (["--num-epoch-checkpoints", 3], [11, 10, 9]),
        (["--num-epoch-checkpoints", 4, "--checkpoint-upper-bound", 10], [10, 9, 8, 3]),
        (["--num-epoch-checkpoints", 2, "--checkpoint-upper-bound", 7], [3, 2]),
        (["--num-update-checkpoints", 2], [100, 80]),
        (["--num-update-checkpoints", 2, "--checkpoint-upper-bound", 99], [80, 40]),
        (["--num-best-checkpoints", 2], [53, 50]),
        (["--num-best-checkpoints", 4], [53, 50, 52, 51]),
    ],
)
def test_the_flags_choose_by_number_the_newest_or_best_first(checkpoints, tmp_path, capsys, arguments, seeds):
    out = tmp_path / "average.pt"
    assert average.main(["--inputs", str(checkpoints), "--output", str(out), *map(str, arguments)]) == 0
    result = torch.load(out, weights_only=True)
    assert result["extra_state"]["train_iterator"]["epoch"] == seeds[0]
    name = "decoder.pred.weight"
    expected = np.mean([weights(seed)[name].double().numpy() for seed in seeds], axis=0)
    np.testing.assert_allclose(result["model"][name].numpy(), expected, rtol=0, atol=1e-6)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"the mean of {len(seeds)} checkpoints:" and lines[-1] == f"written to {out}"
    listed = [torch.load(line.strip(), weights_only=True)["extra_state"]["train_iterator"] for line in lines[1:-1]]
    assert [entry["epoch"] for entry in listed] == seeds


def test_the_best_by_a_loss_are_the_lowest_and_files_can_be_named(tmp_path):
    paths = [
        save(tmp_path / f"checkpoint.best_loss_{score}.pt", seed, maximize=False)
        for seed, score in enumerate(["0.5001", "10.25", "0.123", "2"])
    ]
    for inputs in (paths, [str(tmp_path)]):
        assert averaging.choose_checkpoints(inputs, 3, averaging.BEST) == [paths[2], paths[0], paths[3]]


def test_files_are_averaged_in_the_order_given(tmp_path):
    paths = [save(tmp_path / f"{name}.pt", seed) for seed, name in enumerate("bca")]
    out = tmp_path / "o.pt"
    assert average.main(["--inputs", paths[2], paths[0], paths[1], "--output", str(out)]) == 0
    assert torch.load(out, weights_only=True)["extra_state"]["train_iterator"]["epoch"] == 2


def test_the_result_is_a_checkpoint_like_others(tmp_path):
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        models.append(small_autoencoder())
        for parameter in models[-1].parameters():
            torch.nn.init.normal_(parameter)
    cfg = pretraining_cfg()
    for number, model in enumerate(models):
        torch.save({"cfg": {"model": cfg, "task": TASK_CFG}, "model": model.state_dict()}, tmp_path / f"{number}.pt")
    out = str(tmp_path / "o.pt")
    write_checkpoint(average_checkpoints([str(tmp_path / "0.pt"), str(tmp_path / "1.pt")]), out)
    loaded, _ = load_autoencoder(out)
    for value, *parts in zip(loaded.parameters(), *(model.parameters() for model in models)):
        assert torch.allclose(value, (parts[0] + parts[1]) / 2, atol=1e-7)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--num-epoch-checkpoints", "8"], "expected at least 8 checkpoints named checkpoint<epoch>.pt, found 7; "
                                           "checkpoint.keep_last_epochs says how many a run keeps"),
        (["--num-epoch-checkpoints", "6", "--checkpoint-upper-bound", "9"], "checkpoint<epoch>.pt up to 9, found 5"),
        (["--num-update-checkpoints", "5"], "<epoch>_<update>.pt, found 4; checkpoint.keep_interval_updates, with"),
        (["--num-best-checkpoints", "5"], "checkpoint.best_<metric>_<score>.pt, found 4; checkpoint.keep_best_check"),
    ],
)  # fmt: skip
def test_too_few_are_refused_with_the_field_that_keeps_more(checkpoints, tmp_path, capsys, arguments, message):
    out = tmp_path / "o.pt"
    assert average.main(["--inputs", str(checkpoints), "--output", str(out), *arguments]) == 2
    assert message in capsys.readouterr().err and not out.exists()


def test_what_cannot_be_averaged_is_refused_in_a_line(checkpoints, tmp_path, capsys):
    good = str(checkpoints / "checkpoint1.pt")
    (tmp_path / "empty").mkdir()
    foreign = save_foreign_checkpoint(tmp_path / "foreign.pt", tmp_path / "marker")
    (tmp_path / "cut.pt").write_bytes((checkpoints / "checkpoint1.pt").read_bytes()[:-500])
    save(checkpoints / "checkpoint.best_mAP_0.5001.pt", 60)
    for inputs, flag, message in [
        ([good, str(tmp_path / "none.pt")], [], "none.pt"),
        ([good, foreign], [], "foreign.pt: expected a checkpoint of a maskspec run, found: "),
        ([good, str(tmp_path / "cut.pt")], [], "cut.pt: expected a checkpoint of a maskspec run, found: "),
        ([good, save(tmp_path / "b.pt", cfg={**pretraining_cfg(), "patch_size": 8})], [], "patch_size: expected 16"),
        ([str(tmp_path / "empty")], ["--num-epoch-checkpoints", "1"], "expected at least 1 checkpoints named"),
        ([str(tmp_path / "none")], ["--num-epoch-checkpoints", "1"], "none: expected a directory with checkp"),
        ([str(tmp_path), str(checkpoints)], ["--num-epoch-checkpoints", "1"], "expected one directory with"),
        ([str(checkpoints)], ["--num-best-checkpoints", "1"],
         "expected scores of one metric, found checkpoint.best_accuracy, checkpoint.best_mAP"),
    ]:  # fmt: skip
        out = tmp_path / "o.pt"
        assert average.main(["--inputs", *inputs, "--output", str(out), *flag]) == 2
        error = capsys.readouterr().err
        assert error.startswith("maskspec-average: ") and message in error and error.count("\n") == 1
        assert not out.exists() and not (tmp_path / "marker").exists()
    assert average.main(["--inputs", good, "--output", str(tmp_path / "no" / "o.pt")]) == 2
    assert "expected the directory of --output to exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--num-epoch-checkpoints", "1", "--num-update-checkpoints", "1"], "not allowed with argument"),
        (["--num-epoch-checkpoints", "1", "--num-best-checkpoints", "1"], "not allowed with argument"),
        (
            ["--num-best-checkpoints", "1", "--checkpoint-upper-bound", "3"],
            "--checkpoint-upper-bound needs --num-epoch",
        ),
        (["--checkpoint-upper-bound", "3"], "--checkpoint-upper-bound needs --num-epoch-checkpoints or"),
        (["--num-epoch-checkpoints", "0"], "expected a whole number of at least 1, found 0"),
        ([], "expected files as --inputs, found a directory; choose from it"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(tmp_path, capsys, flags, message):
    try:
        code = average.main(["--inputs", str(tmp_path), "--output", str(tmp_path / "o.pt"), *flags])
    except SystemExit as exited:  # by argparse
        code = exited.code
    assert code == 2 and message in capsys.readouterr().err


def test_an_interrupt_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = save(tmp_path / "a.pt", 1)
    out = tmp_path / "o.pt"
    out.write_text("old")

    def interrupted(state, stream):
        stream.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    assert average.main(["--inputs", path, "--output", str(out)]) == 130
    assert out.read_text() == "old" and sorted(os.listdir(tmp_path)) == ["a.pt", "o.pt"]


def test_a_full_disk_is_an_error_in_a_line_and_leaves_the_old_file(tmp_path, capsys):
    """A limit on the size of files stands for the disk."""
    path = save(tmp_path / "a.pt", 1)
    out = tmp_path / "o.pt"
    out.write_text("old")
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        code = average.main(["--inputs", path, "--output", str(out)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    error = capsys.readouterr().err
    assert code == 2 and "File too large" in error and error.count("\n") == 1
    assert out.read_text() == "old" and sorted(os.listdir(tmp_path)) == ["a.pt", "o.pt"]


def test_memory_holds_two_checkpoints_however_many_are_averaged(tmp_path, monkeypatch):
    alive, most = [], []
    read = averaging.read_checkpoint

    def counted(path, models):
        most.append(sum(reference() is not None for reference in alive))
        state = read(path, models)
        alive.append(weakref.ref(state["model"]["decoder.pred.weight"]))
        return state

    monkeypatch.setattr(averaging, "read_checkpoint", counted)
    average_checkpoints([save(tmp_path / f"{seed}.pt", seed) for seed in range(5)])
    assert len(most) == 5 and max(most) == 0  # next to the sum


def test_which_score_is_best_is_read_as_true_or_false(tmp_path):
    save(tmp_path / "checkpoint.best_loss_0.5.pt", maximize="no")
    with pytest.raises(
        ValueError, match="cfg.checkpoint: expected maximize_best_checkpoint_metric to be true or false"
    ):
        choose_checkpoints([str(tmp_path)], 1, BEST)


def test_weights_that_are_not_finite_are_not_averaged(tmp_path):
    paths = [save(tmp_path / "0.pt"), save(tmp_path / "1.pt", 1, **{"encoder.cls": torch.tensor([float("nan")])})]
    with pytest.raises(ValueError, match="1.pt: expected weights, found 'encoder.cls' with NaN"):
        average_checkpoints(paths)
