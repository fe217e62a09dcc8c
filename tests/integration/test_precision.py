"""fairseq's half-precision modes on a CPU; what only a GPU can show is in docs/reliability.md."""

import shutil

import numpy as np
import pytest
import soundfile

from maskspec_fairseq.data_dir.manifest import read_manifest
from tests.integration.runs import entries, train

SHARED = ["optimization.max_epoch=6", "lr_scheduler.warmup_epochs=1"]
MODES = {
    "bf16": ["common.bf16=true"],
    "memory_efficient_bf16": ["common.bf16=true", "common.memory_efficient_bf16=true"],
    # a scale at which no gradient overflows: fairseq answers an overflow by a call of CUDA's
    "fp16": ["common.fp16=true", "common.fp16_init_scale=1"],
    "memory_efficient_fp16": ["common.fp16=true", "common.memory_efficient_fp16=true", "common.fp16_init_scale=1"],
    "amp": ["common.amp=true"],
}
# Without float32 weights, an update that is small compared with its weight is rounded away: 8 bits of bf16 lose many.
BOUNDS = {mode: 0.02 for mode in MODES}
BOUNDS["memory_efficient_bf16"] = 0.1


@pytest.fixture(scope="module")
def hard_data(labelled_dir, data_dir, tmp_path_factory):
    """The clips, among them a full-scale one of 24 bits, digital silence, and a tone on a DC offset."""
    directory = tmp_path_factory.mktemp("hard") / "data"
    shutil.copytree(labelled_dir, directory)
    shutil.copytree(data_dir / "audio", directory / "audio")
    for name in ("train", "valid"):
        path = directory / f"{name}.tsv"
        path.write_text(path.read_text().replace(str(data_dir), str(directory), 1))
    manifest = read_manifest(directory / "train.tsv")
    tone = np.sin(2 * np.pi * 440 * np.arange(64000) / 32000)
    for index, samples in enumerate([np.sign(tone), 0 * tone, 0.9 + 1e-3 * tone]):
        soundfile.write(manifest.full_path(index), samples, 32000, subtype="PCM_24")
    return directory


@pytest.fixture(scope="module")
def in_float32(hard_data, tmp_path_factory):
    return held_out_loss(train(hard_data, tmp_path_factory.mktemp("float32"), *SHARED))


def held_out_loss(output: str) -> float:
    return float(entries(output, "valid")[-1]["valid_loss"])


@pytest.mark.parametrize(
    "mode",
    [mode if mode == "bf16" else pytest.param(mode, marks=pytest.mark.slow) for mode in MODES],
)
def test_pretraining_ends_near_float32(hard_data, in_float32, tmp_path, mode):
    output = train(hard_data, tmp_path, *SHARED, *MODES[mode])
    assert not any("train_skipped" in entry for entry in entries(output, "train"))
    assert held_out_loss(output) == pytest.approx(in_float32, rel=BOUNDS[mode])
    assert held_out_loss(output) < 0.8 * float(entries(output, "valid")[-1]["valid_baseline_loss"])


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_finetuning_ends_near_float32(hard_data, tmp_path, mode):
    shared = [*SHARED, "task.roll_sec=0.1"]
    expected, found = (
        entries(train(hard_data, tmp_path / name, *shared, *fields, recipe="finetuning/demo"), "valid")[-1]
        for name, fields in [("float32", []), ("half", MODES[mode])]
    )
    assert float(found["valid_loss"]) == pytest.approx(float(expected["valid_loss"]), rel=BOUNDS[mode])
