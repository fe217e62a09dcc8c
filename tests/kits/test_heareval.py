"""heareval computes embeddings through `maskspec_fairseq.hear`, and trains and scores its classifiers on them."""

import json

import numpy as np
import pytest
import soundfile
import torch

pytest.importorskip("heareval", reason="heareval is not installed: make test-kits")

from maskspec_fairseq import hear
from tests.factories import REPOSITORY
from tests.kits.fsdd import write_hear_event_task, write_hear_scene_task

EVENTS = str(REPOSITORY / "tests/kits/heareval_events.py")


def embed(run_kit, folder, name, path, task):
    """The folder of a model's embeddings of a task."""
    arguments = ("--model", path, "--tasks-dir", "tasks", "--task", task.name, "--embeddings-dir", name)
    run_kit(folder, "-m", "heareval.embeddings.runner", "maskspec_fairseq.hear", *arguments)
    return folder / name / "maskspec_fairseq.hear" / task.name


def scores(embeddings):
    return json.loads((embeddings / "test.predicted-scores.json").read_text())["test"]


def test_heareval_scores_scenes(models, fsdd, run_kit, tmp_path):
    task = write_hear_scene_task(fsdd, tmp_path / "tasks")
    for name, path in models.items():
        embeddings = embed(run_kit, tmp_path, name, path, task)
        run_kit(tmp_path, "-m", "heareval.predictions.runner", str(embeddings))
        accuracy = scores(embeddings)["test_top1_acc"]
        print(f"heareval, digits of FSDD as scenes, accuracy: {name} {accuracy:.4f}")
        assert accuracy > 0.15  # chance is 0.1, with a standard deviation of 0.017
        clip, _ = soundfile.read(task / "32000/test/0_george_0.wav", dtype="float32")
        expected = hear.get_scene_embeddings(torch.from_numpy(clip)[None], hear.load_model(path))[0]
        stored = np.load(embeddings / "test/0_george_0.wav.embedding.npy")
        np.testing.assert_allclose(stored, expected.numpy(), atol=1e-3)


def test_heareval_scores_events(models, fsdd, run_kit, tmp_path):
    task = write_hear_event_task(fsdd, tmp_path / "tasks")
    for name, path in models.items():
        embeddings = embed(run_kit, tmp_path, name, path, task)
        run_kit(tmp_path, EVENTS, "--grid", "fast", "--grid-points", "4", str(embeddings))  # sed_eval is slow
        onset, errors = (scores(embeddings)[f"test_{score}"] for score in ("event_onset_200ms_fms", "segment_1s_er"))
        print(f"heareval, digits of FSDD as events: {name}: F of onsets {onset:.4f}, error rate per s {errors:.4f}")
        assert onset > 0 and np.isfinite(errors)
