"""One pooling is one embedding, whoever asks for it: plain arithmetic on the tokens of the encoder."""

import json

import numpy as np
import pytest
import soundfile
import torch

import maskspec_fairseq
from maskspec_fairseq.cli import embed, export, probe
from maskspec_fairseq.data_dir.labels import ClipLabels, Label, write_labels, write_vocabulary
from maskspec_fairseq.data_dir.manifest import Manifest, write_manifest
from maskspec_fairseq.inference import probing
from maskspec_fairseq.inference.export_folder import write_folder
from maskspec_fairseq.inference.probes import ProbeScores
from maskspec_fairseq.inference.probing import embeddings_of
from maskspec_fairseq.inference.sweep import read_encoder
from maskspec_fairseq.integrations import hear
from maskspec_fairseq.modules.patches import patchify
from tests.factories import (
    MODEL_LABELS,
    noise,
    pretraining_cfg,
    s3prl_hubconf,
    save_checkpoint,
    save_finetuned,
    small_audio_model,
    small_autoencoder,
    write_tone,
)

RATE = 32000
ROWS, COLUMNS, WIDTH = 8, 6, 32  # of a window of 1 s
READOUTS = [
    ("mean", None),
    ("frequency", [2]),
    ("cls+max", [1]),
    ("frequency+max", [2, 1]),
    ("frequency+std", None),
    ("mean+std", "all"),
]


def options(pool, layers):
    numbers = ["--layers", layers if layers == "all" else ",".join(map(str, layers))] if layers else []
    return ["--pool", pool, *numbers]


def numbers_of(layers):
    return [1, 2] if layers == "all" else layers or [2]


def plain(network, clip, pool, layers):
    """The embedding of a clip (T,) at the model's rate, written out for one window at a time."""
    starts = [*range(0, max(1, len(clip) - RATE), RATE), len(clip) - RATE] if len(clip) > RATE else [0]
    embeddings = []
    for start in starts:
        window = torch.nn.functional.pad(clip, (0, max(0, RATE - len(clip))))[start : start + RATE]
        outputs = []
        with torch.no_grad():
            patches = patchify(network.front_end(window[None]), 16)
            last = network.encoder(patches, None, (ROWS, COLUMNS), None, outputs)
        sounding = len(range(0, min(len(clip), COLUMNS * 5120), 5120))
        vectors = []
        for number in numbers_of(layers):
            tokens = (last if number == 2 else outputs[number - 1])[0]
            grid = tokens[1:].view(ROWS, COLUMNS, WIDTH).transpose(0, 1)[:sounding]  # (T, R, D)
            kind, _, spread = pool.partition("+")
            groups = grid if kind == "frequency" else grid.reshape(-1, 1, WIDTH)  # statistics over the first axis
            vectors.append(tokens[:1] if kind == "cls" else groups.mean(0))
            if spread:
                vectors.append(groups.amax(0) if spread == "max" else groups.std(0, correction=0))
        embeddings.append(torch.cat(vectors).flatten())
    return torch.stack(embeddings).mean(0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Clips of 16 kHz, shorter and longer than a window, in two folds, and a pretraining checkpoint with a CLS."""
    directory = tmp_path_factory.mktemp("data")
    seconds = [0.6, 1.0, 2.3, 0.1]
    names = [f"{number}.wav" for number in range(4)]
    for name, length in zip(names, seconds):
        write_tone(directory / name, length, RATE // 2, hz=200 + 700 * length)
    for fold, part in (("fold1", names[:2]), ("fold2", names[2:])):
        write_manifest(directory / f"{fold}.tsv", Manifest(str(directory), part, [1, 1]))
        write_labels(directory / f"{fold}.lbl", [ClipLabels(["a"]), ClipLabels(["b"])])
    write_vocabulary(directory / "labels.csv", [Label("a", "a"), Label("b", "b")])
    save_checkpoint(directory / "c.pt", small_autoencoder(cls_token=True), pretraining_cfg(cls_token=True))
    return directory, [str(directory / name) for name in names]


@pytest.mark.parametrize("pool, layers", READOUTS)
@torch.no_grad()
def test_all_consumers_give_the_embedding_of_plain_arithmetic(data, tmp_path, monkeypatch, capsys, pool, layers):
    directory, files = data
    checkpoint, chosen = str(directory / "c.pt"), options(pool, layers)
    clips = [torch.from_numpy(soundfile.read(file, dtype="float32")[0])[None] for file in files]
    model = maskspec_fairseq.load_model(checkpoint, pool, layers)
    resampled = [model.resample(clip, RATE // 2)[0] for clip in clips]
    expected = torch.stack([plain(model.network, clip, pool, layers) for clip in resampled])
    assert model.embed_dim == expected.shape[1]

    def check(found):
        np.testing.assert_allclose(np.asarray(found), expected, atol=2e-5)

    check(torch.cat([model(clip, RATE // 2).embedding for clip in clips]))
    padded = torch.nn.utils.rnn.pad_sequence([clip[0] for clip in clips], batch_first=True)
    check(model(padded, RATE // 2, lengths=[clip.shape[1] for clip in clips]).embedding)

    out = str(tmp_path / "e.npy")
    assert embed.main([*files, "--checkpoint", checkpoint, "--out", out, "--device", "cpu", *chosen]) == 0
    check(np.load(out))

    kept, result = [], tmp_path / "probe.json"

    def keep(features, *_):
        kept.append(features)
        return ProbeScores("accuracy", {"linear": {"fold1": 1.0}}, {}, {})

    monkeypatch.setattr(probing, "score_probes", keep)
    arguments = ["--checkpoint", checkpoint, "--data", str(directory), "--device", "cpu", "--out", str(result)]
    assert probe.main([*arguments, *chosen]) == 0
    check(kept[0])
    assert json.loads(result.read_text())["pool"] == pool

    every = maskspec_fairseq.load_model(checkpoint, layers="all")
    corpus = probing.read_corpus(str(directory), ["fold1"], "fold2")
    swept = {readout.layer: rows for readout, rows in read_encoder(every, corpus, [pool], "embeddings")}
    check(np.concatenate([swept[number] for number in numbers_of(layers)], axis=1))
    for number in (1, 2):
        alone = embeddings_of(maskspec_fairseq.load_model(checkpoint, pool, [number]), files)
        np.testing.assert_allclose(swept[number], list(alone), atol=1e-6)

    folder = str(tmp_path / "m")
    assert export.main(["--checkpoint", checkpoint, "--out", folder, *chosen]) == 0
    exported = maskspec_fairseq.load_model(folder)
    check(torch.cat([exported(clip, RATE // 2).embedding for clip in clips]))
    assert torch.equal(exported(clips[0], RATE // 2).embedding, model(clips[0], RATE // 2).embedding)

    heard = hear.load_model(folder)
    check(torch.cat([hear.get_scene_embeddings(clip[None], heard) for clip in resampled]))
    assert heard.scene_embedding_size == model.embed_dim
    timestamps, _ = hear.get_timestamp_embeddings(resampled[0][None], heard)
    assert timestamps.shape[2] == heard.timestamp_embedding_size

    upstream = s3prl_hubconf(monkeypatch).maskspec(folder)
    over_time = {"": [torch.mean], "+max": [torch.mean, torch.amax], "+std": [torch.mean, deviation]}
    if pool == "mean" or pool.startswith("frequency"):  # the others are not of columns
        frames = [
            upstream([clips[0][0]])["hidden_states"][number - 1][0] for number in numbers_of(layers)
        ]  # (N, W') each
        kinds = over_time[pool.removeprefix("frequency").removeprefix("mean")]
        found = torch.cat([statistic(layer, 0) for layer in frames for statistic in kinds])
        torch.testing.assert_close(found, expected[0], atol=2e-5, rtol=0)


def deviation(frames, dim):
    return frames.std(dim, correction=0)


@torch.no_grad()
def test_onnxruntime_gives_the_embedding_of_plain_arithmetic(data, tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    (directory, _), pool, layers = data, "frequency+max", [2, 1]
    arguments = ["--checkpoint", str(directory / "c.pt"), "--out", str(tmp_path), "--onnx"]
    assert export.main([*arguments, *options(pool, layers)]) == 0
    network = maskspec_fairseq.load_model(str(tmp_path)).network
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    for length in (700, RATE // 2, RATE, 2 * RATE + 5):
        clips = noise(length, 3)
        (found,) = session.run(["embedding"], {"waveform": clips.numpy()})
        expected = torch.stack([plain(network, clip, pool, layers) for clip in clips])
        np.testing.assert_allclose(found, expected, atol=1e-4)


@torch.inference_mode()
def test_windows_that_are_all_sound_need_no_lengths():
    model = small_audio_model([]).read_out("frequency+max", [1])
    windows = noise(RATE)
    found = model.embed_windows(windows)
    torch.testing.assert_close(found, model(windows, RATE).embedding, atol=1e-6, rtol=0)


@torch.inference_mode()
def test_a_finetuned_model_pools_as_in_training_unless_it_is_read_otherwise(tmp_path):
    """Its own embedding counts the padding, as its head has learned it; another one drops the head and the padding."""
    path, network = save_finetuned(tmp_path / "c.pt", seed=1, clip_sec=1.0)
    clip = noise(RATE // 2, 1)
    model, other = maskspec_fairseq.load_model(path), maskspec_fairseq.load_model(path, layers=[2])
    padded = torch.nn.functional.pad(clip, (0, RATE // 2))
    assert torch.equal(model(clip, RATE).embedding, network.embed(padded))
    output = other(clip, RATE)
    assert output.logits is None and other.labels == [] and other.architecture["pool"] == "mean"
    tokens = network.encoder(patchify(network.front_end(padded), 16), None, (ROWS, COLUMNS))
    held = tokens.view(1, ROWS, COLUMNS, WIDTH)[:, :, :4]
    torch.testing.assert_close(output.embedding, held.mean((1, 2)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("norm_after_pool", [False, True])
@pytest.mark.parametrize("pool", ["frequency+max", "cls+std", "mean+max", "attention"])
@torch.inference_mode()
def test_a_finetuned_models_pooling_travels_in_its_folder(tmp_path, pool, norm_after_pool):
    model = small_audio_model(pool=pool, cls_token=True, norm_after_pool=norm_after_pool)
    if pool == "attention":
        torch.nn.init.normal_(model.network.attention_pool.query)
    write_folder(model, str(tmp_path))
    loaded, clip = maskspec_fairseq.load_model(str(tmp_path)), noise(RATE // 2)
    assert loaded.labels == MODEL_LABELS and loaded.embed_dim == {"f": 16, "c": 2, "m": 2, "a": 1}[pool[0]] * WIDTH
    assert torch.equal(loaded(clip, RATE).logits, model(clip, RATE).logits)


def attentive_model():
    model = small_audio_model(pool="attention")
    torch.nn.init.normal_(model.network.attention_pool.query)
    return model


@torch.inference_mode()
def test_the_attention_pooling_of_a_finetuned_model_is_read_without_its_head_and_without_padding(tmp_path):
    model = attentive_model()
    write_folder(model, str(tmp_path / "m"))
    clip = noise(RATE // 2, 1)
    read = maskspec_fairseq.load_model(str(tmp_path / "m"), pool="attention")
    network, padded = model.network, torch.nn.functional.pad(clip, (0, RATE // 2))
    tokens = network.encoder(patchify(network.front_end(padded), 16), None, (ROWS, COLUMNS))
    held = tokens.view(1, ROWS, COLUMNS, WIDTH)[:, :, :4].flatten(1, 2)
    output = read(clip, RATE)
    assert output.logits is None
    torch.testing.assert_close(output.embedding, network.attention_pool(held)[:, 0], atol=1e-5, rtol=0)
    write_folder(read, str(tmp_path / "again"))
    assert torch.equal(maskspec_fairseq.load_model(str(tmp_path / "again"))(clip, RATE).embedding, output.embedding)


@torch.inference_mode()
def test_another_pooling_than_attention_leaves_its_weights_behind(tmp_path):
    write_folder(attentive_model(), str(tmp_path / "m"))
    read = maskspec_fairseq.load_model(str(tmp_path / "m"), pool="mean")
    assert not any("attention_pool" in name for name in read.network.state_dict())
    write_folder(read, str(tmp_path / "mean"))
    again, clip = maskspec_fairseq.load_model(str(tmp_path / "mean")), noise(RATE)
    torch.testing.assert_close(again(clip, RATE).embedding, read(clip, RATE).embedding)


def test_attention_is_of_the_layer_that_it_was_trained_on(tmp_path):
    with pytest.raises(ValueError, match=r"expected layer 2, the last one, for .* found \[1\]; choose another pooling"):
        attentive_model().read_out(layers=[1])
    assert attentive_model().read_out(layers=[2]).layers == (2,)


@pytest.mark.slow
@torch.no_grad()
def test_onnxruntime_gives_the_outputs_of_attention_pooling(tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = attentive_model()
    write_folder(model, str(tmp_path / "m"))
    assert export.main(["--checkpoint", str(tmp_path / "m"), "--out", str(tmp_path / "n"), "--onnx"]) == 0
    session = onnxruntime.InferenceSession(str(tmp_path / "n" / "model.onnx"))
    for length in (RATE // 2, 2 * RATE + 5):
        clips = noise(length, 3)
        logits, embedding = session.run(["logits", "embedding"], {"waveform": clips.numpy()})
        output = model(clips, RATE)
        np.testing.assert_allclose(embedding, output.embedding, atol=1e-4)
        np.testing.assert_allclose(logits, output.logits, atol=1e-3)


def test_a_folder_keeps_what_is_not_asked_for_otherwise(tmp_path):
    write_folder(small_audio_model([]).read_out("frequency", [1]), str(tmp_path))
    assert json.loads((tmp_path / "config.json").read_text())["layers"] == [1]
    model = maskspec_fairseq.load_model(str(tmp_path), pool="mean+max")
    assert model.layers == (1,) and model.architecture["pool"] == "mean+max"
    assert maskspec_fairseq.load_model(str(tmp_path), layers="all").architecture["pool"] == "frequency"


def test_a_folder_without_layers_is_as_it_was(tmp_path):
    write_folder(small_audio_model([]), str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    assert "layers" not in config and config["pool"] == "mean"


@pytest.mark.parametrize(
    "chosen, match",
    [
        (["--layers", "3"], "expected numbers of layers from 1 to 2, the last one, or all, found [3]; choose others"),
        (["--layers", "0,1"], "from 1 to 2, the last one, or all, found [0, 1]"),
        (["--pool", "cls+max"], "CLS token for the pooling cls+max, found one without; choose mean or frequency"),
        (["--pool", "attention"], "found one without its weights; finetune it so, or choose another pooling"),
    ],
)
@pytest.mark.parametrize("program", ["embed", "probe", "export"])
def test_what_the_encoder_lacks_is_refused_before_anything_is_written(tmp_path, capsys, program, chosen, match):
    write_folder(small_audio_model([]), str(tmp_path / "m"))
    write_tone(tmp_path / "a.wav", 0.1)
    out = tmp_path / "out"
    arguments = {
        "embed": [embed.main, str(tmp_path / "a.wav"), "--out", str(out)],
        "probe": [probe.main, "--data", str(tmp_path), "--out", str(out)],
        "export": [export.main, "--out", str(out)],
    }
    main, *rest = arguments[program]
    assert main([*rest, "--checkpoint", str(tmp_path / "m"), *chosen]) == 2
    shown = capsys.readouterr().err.splitlines()[-1]
    assert shown.startswith(f"maskspec-{program}: ") and match in shown and not out.exists()


def test_frames_have_no_maximum_over_time(capsys):
    assert embed.main(["a.wav", "--checkpoint", "c.pt", "--out", "e", "--frames", "--pool", "frequency+max"]) == 2
    assert "expected --pool mean or frequency with --frames, found frequency+max" in capsys.readouterr().err


@torch.inference_mode()
def test_frames_of_rows_side_by_side_are_written(data, tmp_path):
    directory, files = data
    arguments = [files[0], "--checkpoint", str(directory / "c.pt"), "--out", str(tmp_path / "e.npz"), "--device", "cpu"]
    assert embed.main([*arguments, "--frames", "--pool", "frequency", "--layers", "1,2"]) == 0
    with np.load(tmp_path / "e.npz") as archive:
        frames = archive["frames_0"]
    assert frames.shape == (4, 2 * ROWS * WIDTH)
    model = maskspec_fairseq.load_model(str(directory / "c.pt"), "frequency", [1, 2])
    clip = torch.from_numpy(soundfile.read(files[0], dtype="float32")[0])[None]
    np.testing.assert_allclose(frames.mean(0), model(clip, RATE // 2).embedding[0], atol=2e-5)


@pytest.mark.parametrize(
    "chosen, match", [(["--pool", "max"], "invalid choice: 'max'"), (["--layers", "6-8"], "such as 6 or 6,12, or all")]
)
def test_words_that_are_no_readout_are_refused(capsys, chosen, match):
    with pytest.raises(SystemExit) as stop:
        embed.main(["a.wav", "--checkpoint", "c.pt", "--out", "e", *chosen])
    assert stop.value.code == 2 and match in capsys.readouterr().err


@pytest.mark.parametrize("layers", [[3], [0], [-1], "6", 6, ["1"], [1.5]])
def test_layers_that_the_encoder_lacks_are_refused(layers):
    with pytest.raises(ValueError, match="expected numbers of layers from 1 to 2, the last one, or all, found "):
        small_audio_model().read_out(layers=layers)


@pytest.mark.parametrize("layers, labels", [([3], []), ([1], MODEL_LABELS)])
def test_a_folder_whose_layers_do_not_fit_is_refused(tmp_path, layers, labels):
    write_folder(small_audio_model(labels), str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "layers": layers}))
    with pytest.raises(
        ValueError, match=r"config.json: expected layers up to 2, and no label_keys with layers, found "
    ):
        maskspec_fairseq.load_model(str(tmp_path))


def test_a_folder_is_not_mixed_from_two_readouts(data, tmp_path, capsys):
    directory, files = data
    arguments = [files[0], "--checkpoint", str(directory / "c.pt"), "--out", str(tmp_path / "e"), "--device", "cpu"]
    assert embed.main([*arguments, "--pool", "frequency"]) == 0
    assert embed.main([*arguments, "--pool", "frequency+max"]) == 2
    assert "pool 'frequency', not 'frequency+max'" in capsys.readouterr().err


@torch.inference_mode()
def test_a_pretrained_model_has_the_embedding_that_its_checkpoint_names(tmp_path, capsys):
    """And one whose checkpoint names none, as of before there was a choice, the mean; exports keep it."""
    network, clip = small_autoencoder(cls_token=True), noise(RATE, 1)
    for named, expected in ({}, "mean"), ({"embedding_pool": "frequency+max"}, "frequency+max"):
        cfg = pretraining_cfg(cls_token=True, **named)
        model = maskspec_fairseq.load_model(save_checkpoint(tmp_path / "c.pt", network, cfg))
        assert model.architecture["pool"] == expected
        found = model(clip, RATE).embedding[0]
        torch.testing.assert_close(found, plain(model.network, clip[0], expected, None), atol=2e-5, rtol=0)
        folder = str(tmp_path / expected)
        assert export.main(["--checkpoint", str(tmp_path / "c.pt"), "--out", folder]) == 0
        assert torch.equal(maskspec_fairseq.load_model(folder)(clip, RATE).embedding[0], found)
