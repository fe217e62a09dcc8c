"""maskspec-convert: what it takes, what it refuses, and that its checkpoints are fairseq's."""

import argparse
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from maskspec_fairseq.cli.convert import main
from maskspec_fairseq.conversion import weights as reading
from maskspec_fairseq.conversion.statistics import read_statistics
from maskspec_fairseq.data_dir.labels import Label, write_vocabulary
from tests.factories import Intruder
from tests.fairseq_factories import classifier_config, finetuning_task
from tests.unit.conversion.originals import WIDTH, Mae, finetuned, randomise, write_statistics

MEAN, STD = np.linspace(-1, 1, 128, dtype=np.float32), np.linspace(0.1, 1, 128, dtype=np.float32)


@pytest.fixture(scope="module")
def pretrained() -> dict:
    return randomise(Mae((8, 62))).state_dict()


@pytest.fixture(scope="module")
def tagged() -> dict:
    return finetuned((8, 62), 5, noise=0.1).state_dict()


@pytest.fixture()
def statistics(tmp_path) -> str:
    return write_statistics(tmp_path / "mean_std_128.npy", MEAN, STD)


def save(path, state) -> str:
    torch.save(state, path)
    return str(path)


def assert_refused(capsys, out, message, *argv) -> str:
    assert main([*argv, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("maskspec-convert: ") and error.count("\n") == 1
    assert message in error, error
    assert not out.exists()
    return error


@pytest.mark.parametrize("protocol", [None, 3, 4])
@pytest.mark.parametrize("kind", [np.float32, np.float64, list])
def test_statistics_are_read_as_numpy_reads_them(tmp_path, protocol, kind):
    mean, std = (values.tolist() if kind is list else values.astype(kind) for values in (MEAN, STD))
    path = write_statistics(tmp_path / "s.npy", mean, std, protocol)
    assert np.load(path, allow_pickle=True).item()["frame_mean"][5] == mean[5]
    found = read_statistics(path)
    assert np.array_equal(found[0], MEAN) and np.array_equal(found[1], STD)


def test_statistics_of_an_older_numpy_are_read(tmp_path):
    path = tmp_path / "s.npy"
    content = Path(write_statistics(path, MEAN, STD, protocol=3)).read_bytes()
    names = (b"numpy._core.multiarray", b"numpy.core.multiarray")
    old, new = names if names[0] in content else names[::-1]
    path.write_bytes(content.replace(old, new))  # the text of a global ends in a newline, and has no length
    assert np.array_equal(read_statistics(str(path))[0], MEAN)


def test_code_in_statistics_is_refused_and_not_run(tmp_path):
    path = write_statistics(tmp_path / "s.npy", Intruder(tmp_path / "marker"), STD)
    np.load(path, allow_pickle=True)
    assert (tmp_path / "marker").exists()  # as it would be without care
    (tmp_path / "marker").unlink()
    with pytest.raises(ValueError, match=r"s.npy: .* found: \w*\.?open in it, which is not data; it was not read any"):
        read_statistics(path)
    assert not (tmp_path / "marker").exists()


def test_functions_of_numpy_are_no_data_either(tmp_path):
    class Load:
        def __reduce__(self):
            return np.load, ("/nowhere",)

    with pytest.raises(ValueError, match=r"found: numpy\S*load in it, which is not data"):
        read_statistics(write_statistics(tmp_path / "s.npy", Load(), STD))


@pytest.mark.parametrize(
    "mean, std, message",
    [
        (MEAN[:64], STD[:64], "s.npy: expected statistics of 128 mel bins, found 64 and 64"),
        (MEAN, np.zeros(128), "s.npy: expected finite statistics and deviations above 0"),
        (MEAN * np.nan, STD, "s.npy: expected finite statistics"),
        (["a"] * 128, STD, "found values in it that are not numbers"),
    ],
)
def test_statistics_that_cannot_be_are_refused(tmp_path, mean, std, message):
    with pytest.raises(ValueError, match=message):
        read_statistics(write_statistics(tmp_path / "s.npy", mean, std))


class Rebuilt:
    """A pickled array with a state of any kind, of which numpy reads what it is told to."""

    def __init__(self, *state, shape=(0,)):
        self.state = state
        self.shape = shape

    def __reduce__(self):
        return MEAN.__reduce__()[0], (np.ndarray, self.shape, b"b"), self.state


@pytest.mark.parametrize(
    "mean",
    [
        Rebuilt(1, (128,), np.dtype(object), False, b"A" * 1024),  # as pointers
        Rebuilt(1, (128,), np.dtype([("a", object)]), False, b"A" * 1024),
        Rebuilt(1, (128,), np.dtype("V8"), False, b"A" * 1024),
        Rebuilt(1, (128,), np.dtype("U2"), False, b"A" * 1024),
        Rebuilt(1, (128,), np.dtype("c16"), False, b"A" * 2048),
        Rebuilt(1, (10**12,), np.dtype("f8"), False, b"A" * 10),
        Rebuilt(1, (128,), "f8", False, b"A" * 1024),
        Rebuilt(1, (128,), np.dtype("f8"), False, 7),
        [10**400] * 128,
        Rebuilt(shape=(10**12,)),
        np.float64(1),
    ],
)
def test_arrays_are_rebuilt_from_their_bytes_and_a_type_of_numbers_alone(tmp_path, mean):
    with pytest.raises(ValueError, match="s.npy: expected log-mel statistics .*, found values in it that are not num"):
        read_statistics(write_statistics(tmp_path / "s.npy", mean, STD))


def test_statistics_ask_for_no_more_memory_than_they_have(tmp_path):
    begin = Path(write_statistics(tmp_path / "s.npy", MEAN, STD, protocol=2)).read_bytes()
    begin = begin[: begin.index(b"\x80\x02")]
    (tmp_path / "memo.npy").write_bytes(begin + b"\x80\x02]r\xff\xff\xff\x03.")  # an object of number 67108863
    (tmp_path / "bytes.npy").write_bytes(begin + b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b".")
    (tmp_path / "long.npy").write_bytes(begin + bytes(2 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in ("memo", "bytes", "long"):
        with pytest.raises(ValueError, match=f"{name}.npy: expected log-mel statistics"):
            read_statistics(str(tmp_path / f"{name}.npy"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024


def test_other_files_are_no_statistics(tmp_path, statistics):
    whole = Path(statistics).read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-100])
    (tmp_path / "text.npy").write_text("mean and deviation\n")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "array.npy", MEAN)
    np.save(tmp_path / "other.npy", {"mean": MEAN})
    (tmp_path / "bare.npy").write_bytes(pickle.dumps({"frame_mean": MEAN, "frame_std": STD}))
    for name in ("cut", "text", "empty", "array", "other", "bare", "none"):
        with pytest.raises(ValueError, match=f"{name}.npy: expected log-mel statistics .*, found"):
            read_statistics(str(tmp_path / f"{name}.npy"))


def test_the_options_of_a_run_are_read_and_nothing_else_is(tmp_path, pretrained):
    options = argparse.Namespace(norm_pix_loss=True, betas=(0.9, 0.95), data="x")
    found = reading.read_weights(save(tmp_path / "a.pth", {"model": pretrained, "args": options}))
    assert found[1] == vars(options) and found[0].keys() == pretrained.keys()
    options.hidden = Intruder(tmp_path / "marker")
    path = save(tmp_path / "b.pth", {"model": pretrained, "args": options})
    with pytest.raises(ValueError, match=r"b.pth: expected a file of weights, found: \w*\.?open in it, which is not"):
        reading.read_weights(path)
    assert not (tmp_path / "marker").exists()
    with pytest.raises(Exception, match="weights_only"):  # and no longer elsewhere
        torch.load(tmp_path / "a.pth", weights_only=True)


def test_an_older_torch_says_what_it_lacks(tmp_path, pretrained, monkeypatch):
    monkeypatch.delattr(torch.serialization, "safe_globals")
    path = save(tmp_path / "a.pth", {"model": pretrained, "args": argparse.Namespace(lr=1.0)})
    with pytest.raises(ValueError, match="argparse.Namespace in it, which is not data; .* torch 2.5 and newer"):
        reading.read_weights(path)
    assert reading.read_weights(save(tmp_path / "b.pth", {"model": pretrained}))[1] == {}


def test_missing_or_needless_files_are_named(tmp_path, pretrained, tagged, statistics, capsys):
    out = tmp_path / "out.pt"
    paths = {
        "mae": save(tmp_path / "mae.pth", {"model": pretrained}),
        "tagged": save(tmp_path / "tagged.pth", {"model": tagged}),
        "audiomae": save(tmp_path / "audiomae.pth", {"model": randomise(Mae((64, 8))).state_dict()}),
    }
    write_vocabulary(tmp_path / "labels.csv", [Label(key, key) for key in "abcd"])
    labels = ("--labels", str(tmp_path / "labels.csv"))
    for name, layout in (("mae", "MaskSpec, pretraining"), ("tagged", "MaskSpec, finetuned")):
        message = f"{name}.pth: expected the log-mel statistics that {layout} was trained with, found none; "
        assert "--statistics" in assert_refused(capsys, out, message, paths[name])
    given = ("--statistics", statistics)
    assert_refused(capsys, out, "expected no statistics for AudioMAE, pretraining", paths["audiomae"], *given)
    message = "tagged.pth: expected labels for the 5 classes of the head, found 4"
    assert_refused(capsys, out, message, paths["tagged"], *given, *labels)
    message = "expected labels for the 0 classes of the head, found 4; there is no head"
    assert_refused(capsys, out, message, paths["mae"], *given, *labels)
    (tmp_path / "labels.csv").write_text("a,b\n")
    assert_refused(capsys, out, "labels.csv, line 1: expected index,mid,", paths["tagged"], *given, *labels)
    message = "no such file; correct the path"
    assert_refused(capsys, out, message, str(tmp_path / "none.pth"), *given)
    assert_refused(capsys, out, message, str(tmp_path / "none.safetensors"))
    assert_refused(capsys, out, message, paths["mae"], "--statistics", str(tmp_path / "none.npy"))
    assert_refused(capsys, tmp_path / "nowhere" / "out.pt", "the directory of --out", paths["mae"])
    assert main([paths["mae"], *given, "--out", paths["mae"]]) == 2
    assert "another file than the input as --out" in capsys.readouterr().err


def test_damaged_files_are_refused(tmp_path, tagged, capsys):
    from safetensors.torch import save_file

    whole = Path(save(tmp_path / "whole.pth", {"model": tagged})).read_bytes()
    save_file(tagged, tmp_path / "whole.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:-100])
    (tmp_path / "cut.pth").write_bytes(whole[:-500])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pth").write_text("no weights\n")
    for name, message in {
        "cut.pth": "expected a file of weights, found",
        "cut.safetensors": "expected safetensors, found",
        "empty.pth": "expected a file of weights, found",
        "text.pth": "expected a file of weights, found",
    }.items():
        assert_refused(capsys, tmp_path / "out.pt", f"{name}: {message}", str(tmp_path / name))


def test_unknown_layouts_are_refused_by_the_keys_that_do_not_fit(tmp_path, tagged, pretrained, statistics, capsys):
    def refused(message, state):
        path = save(tmp_path / "u.pth", state)
        return assert_refused(capsys, tmp_path / "out.pt", message, path, "--statistics", statistics)

    refused("expected weights by name, at the top level or under the key 'model', found 'epoch'", {"epoch": 1})
    refused("found 'list'", [torch.zeros(2)])
    resnet = {f"layer{n}.conv.weight": torch.zeros(2) for n in range(7)}
    message = "found 7 keys, layer0.conv.weight, layer1.conv.weight, layer2.conv.weight, layer3.conv.weight, "
    refused(message + "layer4.conv.weight and 2 more, without patch_embed.proj.weight, pos_embed, blocks.0.", resnet)
    scaled = {**tagged, "blocks.0.ls1.gamma": torch.zeros(2), "blocks.1.ls1.gamma": torch.zeros(2)}
    message = "found 2 keys that do not fit (blocks.0.ls1.gamma, blocks.1.ls1.gamma) and 0 missing (none)"
    refused("u.pth: expected the weights of MaskSpec, finetuned, to which they come closest, " + message, scaled)
    message = "found 0 keys that do not fit (none) and 2 missing (fc_norm.weight, fc_norm.bias)"
    refused(message, {name: value for name, value in tagged.items() if not name.startswith("fc_norm")})
    bent = {**tagged, "blocks.1.attn.proj.bias": torch.zeros(7)}
    refused(f"blocks.1.attn.proj.bias: expected ({WIDTH},), found (7,)", bent)
    wide = {**tagged, "pos_embed": torch.zeros(1, 497, 256)}
    refused("expected an encoder of a width out of [192, 384, 768, 1024, 1280], found 256", wide)
    refused("expected positions of 8 rows of patches, found 491", {**tagged, "pos_embed": torch.zeros(1, 492, WIDTH)})
    oblong = {**tagged, "patch_embed.proj.weight": torch.zeros(WIDTH, 1, 16, 8)}
    refused("expected square patches of 1 or 3 channels", oblong)
    colours = {**tagged, "patch_embed.proj.weight": torch.zeros(WIDTH, 3, 16, 16)}
    refused("expected positions of a square image, found 496 of them", colours)
    learned = {**pretrained, "decoder_pos_embed": pretrained["decoder_pos_embed"] + 0.1}
    refused("expected the sinusoids of the patches in decoder_pos_embed, found others", learned)


def test_fairseq_loads_what_it_writes(tmp_path, pretrained, tagged, statistics):
    from fairseq import checkpoint_utils

    import maskspec_fairseq  # noqa: F401
    from maskspec_fairseq.models.maskspec import MaskSpecModel
    from maskspec_fairseq.models.maskspec_classifier import MaskSpecClassifierModel

    for state, kind in ((pretrained, MaskSpecModel), (tagged, MaskSpecClassifierModel)):
        out = str(tmp_path / "out.pt")
        assert main([save(tmp_path / "in.pth", {"model": state}), "--statistics", statistics, "--out", out]) == 0
        (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([out])
        assert isinstance(model, kind) and task.cfg.clip_sec == 10.0
        written = torch.load(out, weights_only=True)["model"]
        assert all(torch.equal(value, written[name]) for name, value in model.state_dict().items())
        assert np.array_equal(model.front_end.mel_std.numpy(), STD)
        model.eval()(0.1 * torch.randn(1, 32000), clip_key=np.ones((1, 3), dtype=int))


def test_finetuning_starts_from_a_released_file(tmp_path, pretrained, statistics, folds):
    out = str(tmp_path / "out.pt")
    assert main([save(tmp_path / "in.pth", {"model": pretrained}), "--statistics", statistics, "--out", out]) == 0
    cfg = classifier_config(
        pretrained=out, front_end="reference", mel_jitter=True, cls_token=True, norm_after_pool=True,
        encoder_embed_dim=WIDTH, encoder_attention_heads=3, encoder_ffn_embed_dim=4 * WIDTH,
    )  # fmt: skip
    model = finetuning_task(folds, fold=1).build_model(cfg)
    assert torch.equal(model.encoder.blocks[1].mlp.fc2.weight, pretrained["blocks.1.mlp.fc2.weight"])
    assert np.array_equal(model.front_end.mel_mean.numpy(), MEAN)
