"""Damaged and hostile files of each format: each is loaded and works, or is refused in a line that names the file."""

import copy
import json
import math
import resource
import signal
import time
from collections import Counter

import numpy as np
import pytest
import torch

from maskspec_fairseq.conversion.statistics import read_statistics
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.mel_stats import MEL_STATS_FILE, read_mel_statistics, write_mel_statistics
from maskspec_fairseq.inference.export_folder import write_folder
from maskspec_fairseq.inference.load import load_model
from maskspec_fairseq.modules.log_mel import LogMel
from tests.factories import (
    TASK_CFG,
    classifier_cfg,
    noise,
    pretraining_cfg,
    small_audio_model,
    small_autoencoder,
    small_classifier,
)

ODD = [
    None, True, False, -1, 0, 1, 3, 5, 64, 2**31, 10**9, 2**63, 10**30, 0.5, 1e-9, 1e308, math.nan, math.inf, -math.inf,
    "", "x", "mean", "${oc.env:HOME}", [], [[]], [1, 2, 3], [10**9, 10**9], [0, -1], {}, {"a": 1},
]  # fmt: skip
ODD_WEIGHTS = [
    lambda value: value * math.nan,
    lambda value: value - math.inf,
    lambda value: -value.abs(),
    lambda value: value * 1e30,
    lambda value: value[:1],
    lambda value: value.long(),
    lambda value: value.to(torch.complex64),
    lambda value: value.to_sparse(),
    lambda value: torch.zeros(1).expand(10**6, 10**6),
    lambda value: value.to("meta"),
    lambda value: value.half(),
    lambda value: 7,
]
SECONDS, MEGABYTES = 20, 300  # of one file, and of all of them; seconds on a machine with other work


def mutated(rng, content):
    """A copy with one value, anywhere in it, replaced or removed."""
    content = copy.deepcopy(content)
    parents = [content]
    for parent in parents:
        parents += [
            value for value in (parent.values() if isinstance(parent, dict) else parent) if value and is_tree(value)
        ]
    parent = parents[rng.integers(len(parents))]
    key = rng.choice(list(parent)) if isinstance(parent, dict) else int(rng.integers(len(parent)))
    kind = rng.integers(8)
    if kind == 0:
        del parent[key]
    elif kind == 1 and type(parent[key]) in (int, float):
        parent[key] *= float(rng.choice([-1, 2, 1e-3, 1e3]))
    elif kind == 2 and isinstance(parent[key], list):
        parent[key] = parent[key][1:]
    else:
        parent[key] = copy.deepcopy(ODD[rng.integers(len(ODD))])
    return content


def is_tree(value):
    return isinstance(value, (dict, list))


def scrambled(rng, content):
    """Bytes, a few of them changed, put in or taken out."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        start, kind = int(rng.integers(len(content))), rng.integers(4)
        if kind == 0:
            del content[start : start + int(rng.integers(1, 9))]
        elif kind == 1:
            content[start:start] = rng.bytes(int(rng.integers(1, 9)))
        else:
            content[start] = int(rng.integers(256))
    return bytes(content)


def checkpoints(tmp_path):
    """Of pretraining and of finetuning, with another config or other weights."""
    path, task = tmp_path / "c.pt", {**TASK_CFG, "sample_rate": 32000, "target_is_multilabel": True}
    states = [
        {"cfg": {"model": cfg, "task": task}, "model": model.state_dict()}
        for model, cfg in ((small_autoencoder(), pretraining_cfg()), (small_classifier(), classifier_cfg()))
    ]

    def make(rng):
        state = dict(states[rng.integers(2)])
        if rng.random() < 0.7:
            state["cfg"] = mutated(rng, state["cfg"])
        else:
            names = [name for name in state["model"] if rng.random() < 0.5 or name.startswith("front_end.")]
            name = rng.choice(names)
            change = ODD_WEIGHTS[rng.integers(len(ODD_WEIGHTS))]
            state["model"] = {**state["model"], name: change(state["model"][name])}
        torch.save(state, path)

    return make, path, lambda: runs(path)


def scrambled_checkpoints(tmp_path):
    path = tmp_path / "c.pt"
    torch.save({"cfg": {"model": pretraining_cfg(), "task": TASK_CFG}, "model": small_autoencoder().state_dict()}, path)
    content = path.read_bytes()
    return lambda rng: path.write_bytes(scrambled(rng, content)), path, lambda: runs(path)


def folders(tmp_path):
    write_folder(small_audio_model(), str(tmp_path / "m"))
    path, weights = tmp_path / "m" / "config.json", tmp_path / "m" / "model.safetensors"
    config, content = json.loads(path.read_text()), weights.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")

    def make(rng):
        in_header = rng.random() < 0.2
        path.write_text(json.dumps(config if in_header else mutated(rng, config)))
        weights.write_bytes(scrambled(rng, content[:header]) + content[header:] if in_header else content)

    return make, path.parent, lambda: runs(path.parent)


def runs(path):
    model = load_model(str(path))
    output = model(noise(16000, 1), model.sample_rate)
    assert output.embedding.isfinite().all() and (output.logits is None or output.logits.isfinite().all())


def mel_statistics(tmp_path):
    path, front_end = tmp_path / MEL_STATS_FILE, LogMel()
    settings = {"front_end": front_end.settings(), "channel": "mix", "clip_sec": 10.0}
    statistics = {"clips": 2, "frames": 100, "mean": [-5.0] * 128, "std": [3.0] * 128}
    write_mel_statistics(path, settings, {"train": statistics, "valid": statistics}, {})
    content = json.loads(path.read_text())

    def read():
        front_end.set_statistics(*read_mel_statistics(tmp_path, front_end.settings(), ["train", "valid"]))
        assert front_end(noise(16000, 1)).isfinite().all()

    return lambda rng: path.write_text(json.dumps(mutated(rng, content))), path, read


def numpy_statistics(tmp_path):
    path = tmp_path / "s.npy"
    mean, std = np.linspace(-1, 1, 128), np.linspace(0.1, 1, 128).astype(np.float32)
    np.save(path, {"frame_mean": mean, "frame_std": std, "all_mean": np.float64(1)})
    content = path.read_bytes()

    def read():
        mean, std = read_statistics(str(path))
        assert mean.shape == std.shape == (128,) and np.isfinite([mean, std]).all() and std.min() > 0

    def make(rng):  # what numpy is told to build, more often than the numbers themselves
        start = int(rng.integers(len(content) - 40))
        end = start + 40 if rng.random() < 0.3 else min(start + 400, len(content))
        path.write_bytes(content[:start] + scrambled(rng, content[start:end]) + content[end:])

    return make, path, read


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("files", [checkpoints, scrambled_checkpoints, folders, mel_statistics, numpy_statistics])
@torch.inference_mode()
def test_mutated_files_are_loaded_or_refused_in_a_line(tmp_path, files, count):
    make, path, read = files(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes, slowest = Counter(), 0.0
    for seed in range(count):
        make(np.random.default_rng([count, seed]))
        begin = time.monotonic()
        signal.alarm(SECONDS)  # a loop without end dies
        try:
            read()
            outcomes["loaded"] += 1
        except (ValueError, ManifestError) as error:
            assert "\n" not in str(error) and path.name in str(error) and "expected" in str(error), (seed, error)
            outcomes["refused"] += 1
        finally:
            signal.alarm(0)
        slowest = max(slowest, time.monotonic() - begin)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{files.__name__}: {dict(outcomes)}, at most {slowest:.1f} s and {grown:.0f} MB more")
    assert outcomes["refused"] > count // 5 and grown < MEGABYTES
