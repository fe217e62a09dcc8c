"""Many files encoded together, against each of them by the model alone."""

import numpy as np
import pytest
import soundfile
import torch

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.inference.embed_files import EmbeddingEncoder, FrameEncoder, ScoreEncoder, SpanEncoder
from maskspec_fairseq.inference.file_batches import MAX_LOADED_WINDOWS, encode_files
from tests.factories import forward_file, tagging_model, write_tone

SECONDS = [0.3, 1.9, 0.5, 12.0, 0.2, 0.9, 0.7]  # the model's windows have 0.5 s, so the fourth has too many to load
RATE = 32000


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files, of which one more cannot be opened, and one is bad at its end."""
    folder = tmp_path_factory.mktemp("files")
    paths = [str(write_tone(folder / f"{n}.wav", s, hz=300 + 70 * n)) for n, s in enumerate(SECONDS)]
    damaged = folder / "damaged.wav"
    samples = np.full(3 * RATE, 0.1, dtype=np.float32)
    samples[-1] = np.nan
    soundfile.write(damaged, samples, RATE, subtype="FLOAT")
    return [*paths[:2], str(folder / "none.wav"), *paths[2:5], str(damaged), *paths[5:]]


def waveform(path):
    return torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None]


def check(encoder, files, batch_size, workers, close):
    """In order, with an error in the place of each bad file."""
    results = list(encode_files(encoder, files, batch_size, workers))
    assert len(results) == len(files)
    for path, result in zip(files, results):
        if "none" in path or "damaged" in path:
            reason = "No such file" if "none" in path else "found NaN"
            assert isinstance(result, AudioError) and path in str(result) and reason in str(result)
        else:
            close(path, result)


def almost(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-5)


BATCHES = [(1, 0), (3, 1), (64, 2)]


@pytest.mark.parametrize("batch_size, workers", BATCHES)
@pytest.mark.parametrize("labels", [True, False], ids=["finetuned", "pretrained"])
def test_embeddings(files, batch_size, workers, labels):
    model = tagging_model() if labels else tagging_model(labels=())

    def close(path, span):
        almost(span.embedding, forward_file(model, path).embedding[0])
        assert span.end_sec == waveform(path).shape[1] / RATE

    check(EmbeddingEncoder(model), files, batch_size, workers, close)


@pytest.mark.parametrize("batch_size, workers", BATCHES)
def test_spans(files, batch_size, workers):
    model = tagging_model(labels=())

    def close(path, spans):
        for span in spans:
            start, end = round(span.start_sec * RATE), round(span.end_sec * RATE)
            almost(span.embedding, forward_file(model, path, start, end).embedding[0])
        assert spans[-1].end_sec == waveform(path).shape[1] / RATE

    check(SpanEncoder(model, round(0.7 * RATE), round(0.4 * RATE)), files, batch_size, workers, close)


# Whole columns end before a window of 0.5 s, and after one of 0.47 s, whose last frame is centred on its end.
@torch.no_grad()
@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("kind", [{}, {"clip_sec": 0.47}, {"patch_size": [64, 1]}], ids=["0.5 s", "0.47 s", "1 frame"])
def test_frames(files, kind, passes):
    model = tagging_model(**kind)
    hop = model.column_samples / passes / RATE

    def close(path, result):
        frames, times = model.frame_embeddings(waveform(path), RATE, passes)
        almost(result[0], frames[0])
        almost(result[1], times)
        assert 0 <= times[0] < hop and waveform(path).shape[1] / RATE - hop <= times[-1]

    check(FrameEncoder(model, passes), files, 3, 1, close)


@torch.no_grad()
@pytest.mark.parametrize("batch_size, workers", BATCHES)
def test_scores_of_frames(files, batch_size, workers):
    model = tagging_model(multilabel=True, head="frames")

    def close(path, found):
        logits, times = model.frame_logits(waveform(path), RATE)
        almost(found.scores, logits[0].sigmoid())
        almost(found.times, times)

    check(ScoreEncoder(model), files, batch_size, workers, close)


def test_a_batch_holds_windows_of_several_files(files, monkeypatch):
    model = tagging_model()
    sizes, encode = [], model.network.embed
    monkeypatch.setattr(model.network, "embed", lambda batch, **how: sizes.append(len(batch)) or encode(batch, **how))
    short = [path for path in files if "none" not in path and "damaged" not in path]
    list(encode_files(EmbeddingEncoder(model), short, 3))
    windows = sum(max(1, -(-round(s * RATE) // model.window_samples)) for s in SECONDS)
    assert round(12.0 / 0.5) > MAX_LOADED_WINDOWS
    assert sum(sizes) == windows and set(sizes[:-1]) == {3} and 1 <= sizes[-1] <= 3
