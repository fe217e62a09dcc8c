"""Exported folders in Hugging Face transformers, offline: Auto classes, pipeline, Trainer, next to `load_model`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
import torch.nn.functional as F

import maskspec_fairseq
from maskspec_fairseq.cli import export
from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.inference.export_folder import folder_config
from maskspec_fairseq.inference.export_transformers import write_transformers
from tests.factories import (
    REPOSITORY,
    SMALL_ENCODER,
    classifier_cfg,
    noise,
    save_checkpoint,
    save_finetuned,
    small_audio_model,
    small_autoencoder,
    small_classifier,
)

transformers = pytest.importorskip("transformers", reason="needs the extra transformers")
pytest.importorskip("accelerate", reason="needs the extra transformers")

from maskspec_fairseq.integrations.transformers import (  # noqa: E402
    MaskSpecConfig,
    MaskSpecFeatureExtractor,
    MaskSpecForAudioClassification,
    MaskSpecForPreTraining,
    MaskSpecModel,
)
from maskspec_fairseq.integrations.transformers.configuration import DERIVED  # noqa: E402

RATE = 32000
REMOTE = {"trust_remote_code": True}
AutoClassifier = transformers.AutoModelForAudioClassification


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transformers.utils.logging.disable_progress_bar()


@pytest.fixture()
def folder(tmp_path):
    checkpoint, _ = save_finetuned(tmp_path / "checkpoint.pt", seed=1)
    assert export.main(["--checkpoint", checkpoint, "--out", str(tmp_path / "model"), "--transformers"]) == 0
    return str(tmp_path / "model")


def clips():
    return [noise(samples, clips=1)[0].numpy() for samples in (40000, 16000, 300)]  # of 2.5, 1 and a part of a window


def batch_of(waveforms, rate=RATE):
    return MaskSpecFeatureExtractor(rate)(waveforms, sampling_rate=rate, return_tensors="pt")


def edit(folder, **fields):
    path = Path(folder, "config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def reference(model, batch):
    """Logits and embeddings of `load_model` for a padded batch; each clip gets what it gets alone."""
    with torch.no_grad():
        output = model(batch["input_values"], model.sample_rate, lengths=batch["attention_mask"].sum(dim=1))
        for row, clip in enumerate(clips()):
            single = model(
                torch.from_numpy(clip)[None], RATE
            )  # other sums of the same products: a few units in the last
            torch.testing.assert_close(single.embedding[0], output.embedding[row], rtol=1e-5, atol=1e-5)
    return output.logits, output.embedding


def same_weights(model, other):
    a, b = model.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


MODELS = {
    "finetuned": {},
    "rows of patches": {"pool": "frequency"},
    "CLS token and norm after pooling": {"pool": "cls", "cls_token": True, "norm_after_pool": True},
    "attention": {"pool": "attention"},
    "frames": {"head": "frames"},
    "learned positions": {"position_grid": [8, 6]},
}


@pytest.mark.parametrize("architecture", MODELS.values(), ids=MODELS)
def test_logits_and_embeddings_are_those_of_load_model(architecture, tmp_path):
    write_transformers(small_audio_model(**architecture), str(tmp_path))
    batch = batch_of(clips())
    logits, embedding = reference(maskspec_fairseq.load_model(str(tmp_path)), batch)
    with torch.no_grad():
        found = AutoClassifier.from_pretrained(str(tmp_path), **REMOTE)(**batch)
        embedded = transformers.AutoModel.from_pretrained(str(tmp_path), **REMOTE)(**batch)
    torch.testing.assert_close(found.logits, logits, rtol=0, atol=1e-6)
    torch.testing.assert_close(embedded.pooler_output, embedding, rtol=0, atol=1e-6)


@pytest.mark.parametrize("readout", [{}, {"pool": "frequency+max", "layers": [1, 2]}], ids=["its own", "chosen"])
def test_embeddings_of_a_pretrained_model_are_those_of_load_model(readout, tmp_path):
    model = small_audio_model([], pool="mean+std")
    write_transformers(model.read_out(**readout) if readout else model, str(tmp_path))
    _, embedding = reference(maskspec_fairseq.load_model(str(tmp_path)), batch_of(clips()))
    loaded = transformers.AutoModel.from_pretrained(str(tmp_path), **REMOTE)
    assert type(loaded) is MaskSpecModel and loaded.config.architectures == ["MaskSpecModel"]
    with torch.no_grad():
        torch.testing.assert_close(loaded(**batch_of(clips())).pooler_output, embedding, rtol=0, atol=1e-6)
    if readout:
        with pytest.raises(ValueError, match=r"no label_keys with layers, found layers \[1, 2\]"):
            AutoClassifier.from_pretrained(str(tmp_path), num_labels=3)


def test_hidden_states_are_the_frames_of_each_layer(folder):
    model, batch = transformers.AutoModel.from_pretrained(folder, **REMOTE), batch_of(clips())
    with torch.no_grad():
        states = model(**batch, output_hidden_states=True).hidden_states
        assert len(states) == SMALL_ENCODER["encoder_layers"]
        for row, clip in enumerate(clips()[:2]):
            frames, _ = maskspec_fairseq.load_model(folder).frame_embeddings(torch.from_numpy(clip)[None], RATE)
            torch.testing.assert_close(states[-1][row, : frames.shape[1]], frames[0], rtol=0, atol=1e-5)
        assert model(**batch).last_hidden_state is None
        assert torch.equal(model(**batch, return_dict=False)[0], model(**batch).pooler_output)


def test_a_new_process_needs_the_stub_alone_which_says_what_to_install(folder, tmp_path):
    program = f"""
import sys
import transformers
folder = {folder!r}
sys.modules["maskspec_fairseq"] = None  # hidden
try:
    transformers.AutoConfig.from_pretrained(folder, trust_remote_code=True)
except ImportError as error:
    print(error)
del sys.modules["maskspec_fairseq"]
extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
model = transformers.AutoModelForAudioClassification.from_pretrained(folder, trust_remote_code=True)
print(type(model).__module__)
model.save_pretrained(folder + "_again")
extractor.save_pretrained(folder + "_again")
"""
    environment = {"PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.stdout.splitlines() == [
        "expected the package maskspec-fairseq, which has the classes of this model, found none; get a checkout of "
        "it, and pip install 'CHECKOUT[transformers]'",
        "maskspec_fairseq.integrations.transformers.modeling",
    ], done.stderr
    written = sorted(path.name for path in Path(folder + "_again").iterdir())
    assert written == ["config.json", "model.safetensors", "modeling_maskspec.py", "preprocessor_config.json"]
    for name in ("modeling_maskspec.py", "preprocessor_config.json"):
        a, b = (Path(path, name).read_text() for path in (folder, folder + "_again"))
        assert a == b or json.loads(a) == json.loads(b)
    again = maskspec_fairseq.load_model(folder + "_again")
    assert same_weights(again, maskspec_fairseq.load_model(folder))


@pytest.mark.parametrize("multilabel", [False, True])
def test_the_pipeline_gives_the_scores_of_the_model(multilabel, tmp_path):
    model = small_audio_model()
    model.target_is_multilabel = multilabel
    write_transformers(model, str(tmp_path))
    classifier = transformers.pipeline("audio-classification", model=str(tmp_path), **REMOTE)
    waveforms = clips()
    logits, _ = reference(model, batch_of(waveforms))
    found = classifier(waveforms, batch_size=2, function_to_apply="sigmoid" if multilabel else None)
    for row, scores in zip(model.scores(logits), found):
        expected = {label.name: float(score) for label, score in zip(model.labels, row)}
        assert {item["label"]: item["score"] for item in scores} == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("cls", [MaskSpecForAudioClassification, MaskSpecModel, MaskSpecForPreTraining])
def test_saving_and_loading_keeps_every_bit(cls, folder, tmp_path):
    edit(folder, decoder_embed_dim=16, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_embed_dim=32)
    model = cls.from_pretrained(folder)
    model.save_pretrained(tmp_path / "again")
    loaded = cls.from_pretrained(tmp_path / "again")
    assert same_weights(model, loaded)
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), loaded.buffers()))
    assert loaded.config.to_json_string() == model.config.to_json_string()
    encoder = maskspec_fairseq.load_model(
        str(tmp_path / "again")
    ).network.encoder  # of a pretraining without its decoder
    assert same_weights(encoder, model.network.encoder)


def test_the_config_has_every_field_of_a_folder(folder):
    config = MaskSpecConfig.from_pretrained(folder)
    content = folder_config(maskspec_fairseq.load_model(folder))
    saved = json.loads(config.to_json_string())
    assert {name: saved[name] for name in content if name not in DERIVED} == {
        name: value for name, value in content.items() if name not in DERIVED
    }


def test_half_precision_keeps_the_front_end_in_float32(folder):
    model = AutoClassifier.from_pretrained(folder, dtype=torch.bfloat16)
    whole = AutoClassifier.from_pretrained(folder)
    front_end = model.network.front_end
    assert model.dtype == torch.bfloat16 and same_weights(front_end, whole.network.front_end)
    assert torch.equal(front_end.mel_banks, whole.network.front_end.mel_banks)
    batch = batch_of(clips())
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).logits.float(), whole(**batch).logits, rtol=0.05, atol=0.05)


def test_other_classes_get_a_new_head_and_a_folder_that_load_model_reads(folder, tmp_path):
    names = {0: "zero", 1: "one"}
    model = AutoClassifier.from_pretrained(
        folder, num_labels=2, id2label=names, label2id={"zero": 0, "one": 1}, ignore_mismatched_sizes=True
    )
    assert 0 < float(model.network.head.weight.detach().std()) < 1e-4  # as SpectrogramClassifier begins
    assert same_weights(model.network.encoder, maskspec_fairseq.load_model(folder).network.encoder)
    model.save_pretrained(tmp_path / "two")
    labels = maskspec_fairseq.load_model(str(tmp_path / "two")).labels
    assert [label.name for label in labels] == ["zero", "one"]


def test_losses_are_those_of_torch(folder, tmp_path):
    batch = batch_of(clips())
    model = AutoClassifier.from_pretrained(folder)
    labels = torch.tensor([2, 0, 1])
    output = model(**batch, labels=labels)
    torch.testing.assert_close(output.loss, F.cross_entropy(output.logits, labels))
    with pytest.raises(ValueError, match=r"problem_type 'single_label_classification', numbers of classes, found"):
        model(**batch, labels=torch.eye(3))
    several = AutoClassifier.from_pretrained(folder, problem_type="multi_label_classification")
    output = several(**batch, labels=torch.eye(3))
    torch.testing.assert_close(output.loss, F.binary_cross_entropy_with_logits(output.logits, torch.eye(3)))
    several.save_pretrained(tmp_path / "several")
    assert maskspec_fairseq.load_model(str(tmp_path / "several")).target_is_multilabel


def pretraining_model():
    sizes = dict(decoder_embed_dim=16, decoder_layers=2, decoder_attention_heads=2, decoder_ffn_embed_dim=32)
    encoder = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    model = MaskSpecForPreTraining(MaskSpecConfig(clip_sec=1.0, **encoder, **sizes))
    reference = small_autoencoder()
    model.load_state_dict(reference.state_dict())
    return model.eval(), reference.eval()


def test_pretraining_is_that_of_the_masked_autoencoder():
    model, reference = pretraining_model()
    batch, keys = batch_of(clips()), torch.tensor([[1, 1, 7], [1, 1, 8], [1, 2, 9]])
    with torch.no_grad():
        output = model(**batch, clip_key=keys)
        lengths = batch["attention_mask"].sum(dim=1)
        expected = reference(batch["input_values"], lengths, keys.numpy())
        scored = expected["scored"]
        loss = (expected["prediction"] - expected["target"])[scored].square().mean()
        assert torch.equal(output.mask, expected["mask"]) and not scored.all()
        torch.testing.assert_close(output.loss, loss)
        assert torch.equal(model(**batch, seed=3).mask, model(**batch, seed=3).mask)
        assert not torch.equal(model(**batch, seed=3).mask, model(**batch, seed=4).mask)
        assert torch.equal(model(**batch).mask, model(**batch).mask)
        model.train()
        assert not torch.equal(model(**batch).mask, model(**batch).mask)
    with pytest.raises(ValueError, match=r"expected clip_key as whole numbers from 0, .* for each of 3 clips, found"):
        model(**batch, clip_key=torch.ones(2, 3))


def test_pretraining_learns_with_trainer(tmp_path):
    model, _ = pretraining_model()
    rows = [{"input_values": clip} for clip in noise(16000, clips=8).numpy()]
    trainer = make_trainer(model, rows, tmp_path, epochs=4, learning_rate=3e-3)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < before


def make_trainer(model, rows, out, epochs, learning_rate, **kwargs):
    def collate(batch):
        padded = dict(batch_of([row["input_values"] for row in batch], model.config.sampling_rate))
        if "labels" in batch[0]:
            padded["labels"] = torch.tensor([row["labels"] for row in batch])
        return padded

    arguments = transformers.TrainingArguments(
        str(out), num_train_epochs=epochs, per_device_train_batch_size=4, learning_rate=learning_rate, report_to=[],
        remove_unused_columns=False, use_cpu=True, disable_tqdm=True, logging_strategy="epoch", seed=1, **kwargs,
    )  # fmt: skip
    return transformers.Trainer(model, arguments, train_dataset=rows, eval_dataset=rows, data_collator=collate)


@pytest.fixture()
def digits(real_audio):
    """Spoken zeros, ones and twos of one speaker, at 8 kHz."""
    files = [
        real_audio / "fsdd" / "recordings" / f"{digit}_jackson_{take}.wav" for take in range(4) for digit in range(3)
    ]
    rows = []
    for path in files:
        audio, rate = soundfile.read(path, dtype="float32")
        rows.append({"input_values": soxr.resample(audio, rate, 8000), "labels": int(path.name[0])})
    return rows


def test_trainer_finetunes_on_spoken_digits(digits, tmp_path):
    torch.manual_seed(0)
    audio = AudioModel({**SMALL_ENCODER, "front_end": "narrowband", "sample_rate": 8000}, clip_sec=0.5)
    audio.network.front_end.set_statistics([-6.0] * 64, [2.0] * 64)
    write_transformers(audio, str(tmp_path / "pretrained"))
    names = {0: "zero", 1: "one", 2: "two"}
    torch.manual_seed(0)
    model = AutoClassifier.from_pretrained(tmp_path / "pretrained", id2label=names, **REMOTE)
    trainer = make_trainer(model, digits, tmp_path / "run", 2, 3e-3, save_strategy="epoch")
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < before - 0.01
    checkpoints = sorted((tmp_path / "run").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    loaded = maskspec_fairseq.load_model(str(checkpoints[-1]))
    assert same_weights(loaded.network, model.network) and [label.name for label in loaded.labels] == [*names.values()]
    resumed = AutoClassifier.from_pretrained(tmp_path / "pretrained", id2label=names)
    make_trainer(resumed, digits, tmp_path / "run", 2, 3e-3).train(resume_from_checkpoint=str(checkpoints[0]))
    assert same_weights(resumed, model)  # the second epoch again, from the first one's weights and optimizer


def test_the_extractor_takes_arrays_tensors_and_lists():
    extractor = MaskSpecFeatureExtractor(RATE)
    for one in (clips()[0], torch.from_numpy(clips()[0]), clips()[0].tolist(), [clips()[0]], noise(40000, 1)):
        batch = extractor(one, sampling_rate=RATE, return_tensors="pt")
        assert torch.equal(batch["input_values"], torch.from_numpy(clips()[0])[None])
        assert batch["input_values"].dtype == torch.float32 and batch["attention_mask"].all()
    batch = extractor(clips(), sampling_rate=RATE, return_tensors="np")
    assert batch["attention_mask"].sum(axis=1).tolist() == [40000, 16000, 300]
    for row, clip in zip(batch["input_values"], clips()):
        assert np.array_equal(row[: len(clip)], clip) and not row[len(clip) :].any()
    cut = extractor(clips(), sampling_rate=RATE, padding="max_length", max_length=500, truncation=True)
    assert np.shape(cut["input_values"]) == (3, 500)


def test_the_extractor_warns_without_a_rate(caplog):
    MaskSpecFeatureExtractor(RATE)(clips())
    assert "expected sampling_rate with the waveforms, found none" in caplog.text


@pytest.mark.parametrize(
    "waveforms, rate, message",
    [
        (np.zeros(100, np.float32), 16000, "expected waveforms at 32000 Hz, the model's rate, found 16000; resample"),
        (np.zeros(100, np.int16), RATE, "expected waveforms of floats .* found int16; divide them .* 32768"),
        (torch.zeros(100, dtype=torch.int32), RATE, "expected waveforms of floats .* found int32"),
        ([1, 2, 3], RATE, "expected waveforms of floats .* found int64"),
        ([], RATE, "expected at least one waveform, found none"),
        (np.zeros((0, 100)), RATE, "expected at least one waveform, found none"),
        ([np.zeros(0)], RATE, r"of one channel with samples, \(T,\), found the shape \(0,\)"),
        ([np.zeros((2, 100))], RATE, r"of one channel with samples, \(T,\), found the shape \(2, 100\)"),
    ],
)
def test_the_extractor_refuses(waveforms, rate, message):
    with pytest.raises(ValueError, match=message) as error:
        MaskSpecFeatureExtractor(RATE)(waveforms, sampling_rate=rate)
    assert "\n" not in str(error.value)


def test_padding_that_is_not_at_the_end_is_refused(folder):
    batch = MaskSpecFeatureExtractor(RATE, padding_side="left")(clips(), sampling_rate=RATE, return_tensors="pt")
    with pytest.raises(ValueError, match="padding at the end of clips alone"):
        MaskSpecModel.from_pretrained(folder)(**batch)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"hidden_size": 30}, "expected hidden_size to be a whole number from 4"),
        ({"front_end": "mfcc"}, "expected front_end to be one of paper"),
        ({"id2label": {"0": "a", "2": "c"}}, "and a name in id2label for each of the 3 label_keys, found 2 names"),
        ({"id2label": "low"}, "expected id2label to be a name for each number of a class"),
        ({"label_keys": "low"}, "expected label_keys to be a list"),
        ({"problem_type": "regression"}, "expected problem_type to be one of multi_label_classification"),
        ({"num_hidden_layers": 3}, r"every weight of the encoder .* for encoder\.blocks\.2\."),
    ],
)
def test_a_config_edited_by_hand_is_refused(fields, message, folder):
    edit(folder, **fields)
    with pytest.raises(ValueError, match=message):
        AutoClassifier.from_pretrained(folder, **REMOTE)


def test_weights_that_are_cut_off_are_refused(folder):
    weights = Path(folder, "model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"model: expected safetensors, found: .*; is the file cut off\?"):
        AutoClassifier.from_pretrained(folder, **REMOTE)


def test_the_card_says_what_is_known_and_what_is_not(tmp_path, capsys):
    model = small_classifier(num_classes=2)
    path = save_checkpoint(tmp_path / "checkpoint.pt", model, classifier_cfg("ab"))
    state = torch.load(path, weights_only=True)
    state["cfg"]["task"]["target_is_multilabel"] = False
    state["cfg"]["checkpoint"] = {"best_checkpoint_metric": "accuracy"}
    state["cfg"]["dataset"] = {"valid_subset": "fold1"}
    torch.save({**state, "extra_state": {"val_loss": 0.75}, "optimizer_history": [{"num_updates": 12}]}, path)
    arguments = ["--checkpoint", path, "--out", str(tmp_path / "out"), "--transformers"]
    assert export.main(arguments) == 0
    card = Path(tmp_path, "out", "README.md")
    text = card.read_text()
    assert "| training | finetuning, 12 updates |" in text and "accuracy 0.7500 on the subset `fold1`" in text
    assert "| training data | unknown |" in text and "| licence of the weights | unknown |" in text
    assert "2, one of them per clip: a, b" in text and str(tmp_path) not in text
    assert "fill in what is unknown" in capsys.readouterr().out
    card.write_text("mine")
    assert export.main(arguments) == 0
    assert card.read_text() == "mine" and "model card" not in capsys.readouterr().out
    shutil.copytree(tmp_path / "out", tmp_path / "copy", ignore=shutil.ignore_patterns("README.md"))
    assert export.main(["--checkpoint", str(tmp_path / "copy"), "--out", str(tmp_path / "copy"), "--transformers"]) == 0
    assert "| measured figures | unknown |" in Path(tmp_path, "copy", "README.md").read_text()
