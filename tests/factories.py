"""Models, audio, packs and data directories that several test files share."""

import contextlib
import importlib
import io
import itertools
import json
import subprocess
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import torchaudio.compliance.kaldi as kaldi

from maskspec_fairseq.checkpoints.read import model_arguments, read_checkpoint
from maskspec_fairseq.cli import build
from maskspec_fairseq.data_dir.labels import Label, read_labels, read_vocabulary
from maskspec_fairseq.data_dir.manifest import read_manifest
from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.inference.export_folder import write_folder
from maskspec_fairseq.modules.classifier import SpectrogramClassifier
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.registered_names import FINETUNING_MODEL

REPOSITORY = Path(__file__).resolve().parents[1]


def write_tone(path: Path, seconds: float = 1.0, rate: int = 32000, hz: float = 440.0, channels: int = 1) -> Path:
    """A decaying tone over faint noise, different for every pitch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(int(hz)).standard_normal((len(t), channels))
    soundfile.write(path, 0.3 * (np.sin(2 * np.pi * hz * t) * np.exp(-t))[:, None] + 0.01 * noise, rate)
    return path


SMALL_AUTOENCODER: dict[str, Any] = dict(
    encoder_embed_dim=32, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_embed_dim=64, decoder_embed_dim=16,
    decoder_layers=2, decoder_attention_heads=2, decoder_ffn_embed_dim=32,
)  # fmt: skip


def small_autoencoder(**kwargs) -> MaskedAutoencoder:
    torch.manual_seed(0)
    model = MaskedAutoencoder(**SMALL_AUTOENCODER, **kwargs)
    model.front_end.set_statistics([-5.0] * 128, [3.0] * 128)
    return model


SMALL_ENCODER: dict[str, Any] = dict(
    encoder_embed_dim=32, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_embed_dim=64
)


def small_classifier(num_classes=5, **kwargs) -> SpectrogramClassifier:
    torch.manual_seed(0)
    model = SpectrogramClassifier(num_classes, **{**SMALL_ENCODER, **kwargs})
    model.front_end.set_statistics([-5.0] * 128, [3.0] * 128)
    torch.nn.init.normal_(model.head.get_parameter("weight"))
    return model


FRONT_END_FIELDS = dict(front_end="paper", sample_rate=32000, mel_jitter=False, patch_size=16, position_grid=[])


def pretraining_cfg(**kwargs):
    cfg = dict(
        SMALL_AUTOENCODER, **FRONT_END_FIELDS, _name="maskspec", cls_token=False, mask_ratio=0.75, decoder_share=1.0,
        decoder_attention="self", dropout=0.0, drop_path=0.0, norm_pix_loss=False,
    )  # fmt: skip
    return {**cfg, **kwargs}


def classifier_cfg(labels="abcde", **kwargs):
    cfg = dict(
        SMALL_ENCODER, **FRONT_END_FIELDS, _name="maskspec_classifier", cls_token=False, pool="mean",
        norm_after_pool=False, dropout=0.0, drop_path=0.0, spec_augment_bins=0, spec_augment_frames=0, patchout=0.0,
        head="linear", num_classes=len(labels), label_keys=list(labels), label_names=list(labels),
    )  # fmt: skip
    return {**cfg, **kwargs}


TASK_CFG = {"clip_sec": 1.0, "channel": "mix"}


def save_checkpoint(path, model, cfg):
    torch.save({"cfg": {"model": cfg, "task": TASK_CFG}, "model": model.state_dict()}, path)
    return str(path)


def build_classifier(cfg):
    return SpectrogramClassifier(**model_arguments(SpectrogramClassifier, cfg))


class Intruder:
    """A value that makes a file where it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def save_foreign_checkpoint(path, marker, **kwargs):
    """A checkpoint of a pretraining with an `Intruder` in it."""
    state = {"cfg": {"model": pretraining_cfg(), "task": {}}, "model": small_autoencoder().state_dict()}
    torch.save({**state, "extra_state": {"best": Intruder(marker)}}, path, **kwargs)
    return str(path)


def save_finetuned(path, seed, multilabel=False, labels=("low", "middle", "high"), channel="mix", clip_sec=0.5):
    model = small_classifier(num_classes=len(labels))
    torch.manual_seed(seed)
    torch.nn.init.normal_(model.head.get_parameter("weight"))
    task = {"clip_sec": clip_sec, "sample_rate": 32000, "channel": channel, "target_is_multilabel": multilabel}
    torch.save({"cfg": {"model": classifier_cfg(labels), "task": task}, "model": model.state_dict()}, path)
    return str(path), model.eval()


MODEL_LABELS = [Label("dog", "Dog, barking"), Label("rain", "Rain"), Label("sea", "Sea waves")]


def small_audio_model(labels=MODEL_LABELS, **architecture) -> AudioModel:
    """For clips of 1 s."""
    torch.manual_seed(0)
    model = AudioModel({**SMALL_ENCODER, **architecture}, clip_sec=1.0, labels=labels, target_is_multilabel=True)
    model.network.front_end.set_statistics([-6.0] * 128, [2.0] * 128)
    if labels:
        torch.nn.init.normal_(model.network.head.get_parameter("weight"))
    return model.eval()


def noise(samples: int, clips: int = 2) -> torch.Tensor:
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(samples))


TAG_LABELS = [Label("/m/dog", "Dog, bark"), Label("rain", "rain"), Label("/m/säge", "Säge")]


def tagging_model(labels=tuple(TAG_LABELS), multilabel=False, channel="mix", seed=0, clip_sec=0.5, **architecture):
    """A model for clips of 0.5 s, whose scores differ from clip to clip."""
    torch.manual_seed(seed)
    model = AudioModel({**SMALL_ENCODER, **architecture}, clip_sec, channel, labels, multilabel)
    if labels:
        torch.nn.init.normal_(model.network.head.get_parameter("weight"), std=0.5)
    return model.eval()


def save_exported(model, path):
    write_folder(model, str(path))
    return str(path)


def s3prl_hubconf(monkeypatch):
    """The entry of the upstream, with a stand-in for s3prl, which is not installed here."""
    interfaces: Any = types.ModuleType("s3prl.upstream.interfaces")
    interfaces.SAMPLE_RATE, interfaces.UpstreamBase = 16000, torch.nn.Module
    for name in ("s3prl", "s3prl.upstream"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "s3prl.upstream.interfaces", interfaces)
    for name in ("expert", "hubconf"):
        monkeypatch.delitem(sys.modules, f"maskspec_fairseq.integrations.s3prl.{name}", raising=False)
    return importlib.import_module("maskspec_fairseq.integrations.s3prl.hubconf")


def forward_file(model, path, start=None, end=None):
    """The model's output for a whole file, or a piece of it at the file's rate."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    audio = audio.mean(axis=1)[start:end]
    with torch.no_grad():
        return model(torch.from_numpy(audio)[None], rate)


BUILD = [sys.executable, str(REPOSITORY / "manifests" / "build.py")]


def run_build(*args, code=0):
    """maskspec-build in this process; checks its exit code and returns what it printed."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            found = build.main([str(arg) for arg in args])
        except SystemExit as error:  # of argparse
            found = int(error.code or 0)
    assert found == code, stdout.getvalue() + stderr.getvalue()
    return subprocess.CompletedProcess(args, found, stdout.getvalue(), stderr.getvalue())


def run_build_program(*args, code=0):
    """`python manifests/build.py` as a user runs it; checks its exit code and returns what it printed."""
    done = subprocess.run([*BUILD, *map(str, args)], capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def read_subset(directory, name):
    manifest = read_manifest(directory / f"{name}.tsv")
    labels = read_labels(directory / f"{name}.lbl", read_vocabulary(directory / "labels.csv"), len(manifest))
    return manifest, [clip.present for clip in labels]


def write_flac_without_length(path):
    """As an encoder that wrote to a stream leaves it: the 36 bits of the number of samples are 0."""
    soundfile.write(path, np.random.default_rng(1).uniform(-0.5, 0.5, 4800), 48000, format="FLAC")
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)


PACK_RATE = 32000


NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, (8, 2 * PACK_RATE))


def encoded(samples, extension="wav", rate=PACK_RATE):
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=extension.upper())
    return stream.getvalue()


def write_zip(path, members):
    """Store members; returns name -> path in the pack, found by looking for the bytes."""
    with zipfile.ZipFile(path, "w") as pack:
        for name, data in members.items():
            pack.writestr(name, data)
    content = path.read_bytes()
    return {name: f"{path}:{content.index(data)}:{len(data)}" for name, data in members.items()}


def write_mp3s(path, rows):
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("audio_name", data=np.array([f"Y{n}.mp3".encode() for n in range(len(rows))], "S20"))
        mp3 = file.create_dataset("mp3", shape=(len(rows),), dtype=h5py.vlen_dtype(np.uint8))
        for index, row in enumerate(rows):
            mp3[index] = np.frombuffer(row, np.uint8)
        file.create_dataset("target", data=np.zeros((len(rows), 66), np.uint8))
    return path


def write_waveforms(path, rows, names=None, **kwargs):
    """rows: int16 (N, T)."""
    import h5py

    names = names or [f"Y{n}.wav" for n in range(len(rows))]
    with h5py.File(path, "w") as file:
        file.create_dataset("audio_name", data=np.array([name.encode() for name in names], "S20"))
        file.create_dataset("waveform", data=rows, **kwargs)
        file.create_dataset("target", data=np.zeros((len(rows), 527), bool))
        file.attrs.create("sample_rate", data=PACK_RATE, dtype=np.int32)
    return path


def write_tar(path, members):
    """Shards as webdataset writes them. members: names -> bytes; returns name -> path in the tar."""
    import webdataset

    with webdataset.TarWriter(str(path)) as sink:
        for key, group in itertools.groupby(members.items(), lambda item: item[0].partition(".")[0]):
            sink.write({"__key__": key, **{name.partition(".")[2]: data for name, data in group}})
    content = path.read_bytes()
    return {name: f"{path}:{content.index(data)}:{len(data)}" for name, data in members.items()}


def write_parquet(path, clips, features=None, rows_per_group=3, **columns):
    """As `datasets` writes them: a struct of bytes and path per row, and its features in the metadata."""
    import pyarrow
    import pyarrow.parquet

    audio = pyarrow.array(
        [{"bytes": data, "path": f"{row}.flac"} for row, data in enumerate(clips)],
        pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]),
    )
    table = pyarrow.table({"audio": audio, **columns})
    features = {"audio": {"_type": "Audio"}, **(features or {})}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, path, row_group_size=rows_per_group)
    return path


def int16(samples):
    return (samples * 32767.0).astype(np.int16)


def audiomae_input(clip: np.ndarray, target_length: int) -> np.ndarray:
    """Kaldi's features of a clip at 16 kHz less its mean, zeros after the end, AudioMAE's normalisation: (S, F)."""
    waveform = torch.from_numpy(clip)[None]
    fbank = kaldi.fbank(
        waveform - waveform.mean(), htk_compat=True, sample_frequency=16000, use_energy=False, window_type="hanning",
        num_mel_bins=128, dither=0.0, frame_shift=10,
    )  # fmt: skip
    fbank = np.pad(fbank.numpy(), ((0, max(0, target_length - len(fbank))), (0, 0)))[:target_length]
    return (fbank + 4.2677393) / (2 * 4.5689974)


def load_classifier(path):
    """The model of a finetuning checkpoint, in eval mode, and the checkpoint's config."""
    state = read_checkpoint(str(path), (FINETUNING_MODEL,))
    model = build_classifier(state["cfg"]["model"])
    model.load_state_dict(state["model"])
    return model.eval(), state["cfg"]
