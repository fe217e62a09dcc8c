"""Audio files with bytes changed at random go through builder, check, training, maskspec-tag and maskspec-embed."""

import collections
import contextlib
import io
import shutil
import sys

import pytest
import soundfile
import torch

from maskspec_fairseq.cli import build, embed, tag
from maskspec_fairseq.data.audio_dataset import AudioDataset
from maskspec_fairseq.data_dir.manifest import join_manifests, num_rejected, read_manifest
from tests.factories import NOISE, save_exported, tagging_model, write_tone
from tests.mutation import in_fork, outcomes_of_mutations

RATE = 16000
FORMATS = {  # extension -> format and subtype of libsndfile
    "wav": ("WAV", "PCM_16"), "gsm.wav": ("WAV", "GSM610"), "flac": ("FLAC", None), "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"), "mp3": ("MP3", None), "aiff": ("AIFF", None), "au": ("AU", None), "caf": ("CAF", None),
    "w64": ("W64", None),
}  # fmt: skip
GOOD = 3  # files next to the mutated one


def run(main, *arguments):
    """Exit code of a program, and what it printed on both streams."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = main([str(argument) for argument in arguments])
    return code, output.getvalue()


def use(path, model, out):
    """What each step made of a file: used it, or refused it by name. Nothing else, and nothing without a word."""
    torch.set_num_threads(1)  # a forked process hangs in the threads of its parent
    options = ["--out", out, "--stats-clips", 0, "--max-rejected", 1, "--workers", 1]
    code, output = run(build.main, "folder", path.parent, *options)
    subsets = ("train", "valid")
    rejected = sum(num_rejected(out / f"{subset}.rejected.tsv") for subset in subsets)
    assert code == 0 and f"rejected {rejected} of {GOOD + 1} files" in output, output
    manifest = join_manifests([read_manifest(out / f"{subset}.tsv") for subset in subsets])
    assert len(set(manifest.paths)) == len(manifest) and any(path.name in name for name in manifest.paths) != rejected
    steps = [f"built {not rejected}"]
    dataset = AudioDataset(manifest, sample_rate=RATE, clip_sec=0.5, seed=1, training=True, on_bad_audio="skip")
    clips = [dataset[index] for index in range(len(dataset))]
    assert all(clip["waveform"].isfinite().all() for clip in clips)
    steps.append(f"trained {not any(clip['bad_audio'] for clip in clips)}")
    code, output = run(build.main, "check", out, "--decode")
    assert code == 0 or path.name in output, output
    steps.append(f"check {code}")
    shutil.rmtree(out / "embeddings", ignore_errors=True)  # an unfinished job of the file before
    (out / "embeddings").mkdir()
    for program, arguments in ((tag, ["--format", "jsonl"]), (embed, ["--out", out / "embeddings" / "e.npy"])):
        code, output = run(program.main, path, "--checkpoint", model, *arguments)
        assert code == 0 or (code == 2 and path.name in output and "Traceback" not in output), output
        steps.append(f"{program.__name__.split('.')[-1]} {code}")
    return "ok: " + ", ".join(steps)


def outcomes(name, tmp_path, count):
    path = tmp_path / "audio" / f"mutated.{name}"
    path.parent.mkdir()
    for number in range(GOOD):
        write_tone(path.with_name(f"good{number}.wav"), 0.6, RATE)
    kind, subtype = FORMATS[name]
    soundfile.write(path, NOISE[0, :12000], RATE, format=kind, subtype=subtype)
    model = save_exported(tagging_model(), tmp_path / "model")
    (tmp_path / "data").mkdir()
    arguments = (path, model, tmp_path / "data")
    assert in_fork(use, *arguments) == "ok: built True, trained True, check 0, tag 0, embed 0"
    counts = collections.Counter()
    for seed, found in outcomes_of_mutations(path, count, use, *arguments):
        assert found.startswith("ok"), (seed, found)
        counts[found] += 1
    return counts


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory by /proc")


@linux
@pytest.mark.parametrize("name", FORMATS)
def test_mutated_audio_is_used_or_named(name, tmp_path):
    outcomes(name, tmp_path, 3)


@linux
@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_five_hundred_mutated_files_are_used_or_named(name, tmp_path):
    print(f"{name}: {dict(outcomes(name, tmp_path, 500).most_common())}")
