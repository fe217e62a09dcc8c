"""How a clip is cut for a head of frames."""

import numpy as np
import pytest
import soundfile
import torch

from maskspec_fairseq.inference.embed_files import ScoreEncoder
from maskspec_fairseq.inference.file_batches import encode_file
from maskspec_fairseq.inference.scored_windows import ScoredWindows
from tests.factories import noise, tagging_model, write_tone

# 3 columns of 4 samples in a window of 13: the last sample is in no column
GRIDS = [ScoredWindows(12, 3, 4, 2), ScoredWindows(13, 3, 4, 2), ScoredWindows(15, 3, 4, 1), ScoredWindows(4, 1, 4, 2)]


@pytest.mark.parametrize("length", range(1, 64))
@pytest.mark.parametrize("scored", GRIDS, ids=str)
def test_every_column_is_scored_once_and_the_last_window_is_full(scored, length):
    waveform = torch.arange(1.0, length + 1)
    windows = scored.cut(waveform[None])  # (1, K, W)
    middles = windows[:, :, scored.middle :: scored.column_samples][:, :, : scored.columns, None]  # (1, K, M, 1)
    found = scored.join(middles, length)[0, :, 0]
    expected = waveform[scored.middle :: scored.column_samples]
    assert found.tolist() == (expected.tolist() or [0.0])  # a clip without a middle has one column, of padding
    padding = int((windows[0, -1] == 0).sum())
    assert padding < scored.column_samples + scored.size - scored.hop or length < scored.size


@pytest.mark.parametrize("piece", [1, 7, 100])
@pytest.mark.parametrize("scored", GRIDS, ids=str)
def test_windows_of_a_stream_are_the_same(scored, piece):
    for length in range(1, 64):
        waveform = np.arange(1, length + 1, dtype=np.float32)
        pieces = [waveform[start : start + piece] for start in range(0, length, piece)]
        found = list(scored.stream(pieces))
        assert [window.start for window in found] == scored.starts(length)
        assert np.array_equal(
            np.stack([window.samples for window in found]), scored.cut(torch.from_numpy(waveform)[None])[0]
        )


def test_a_stream_is_not_kept():
    scored = GRIDS[1]
    alive: list[int] = []

    def pieces():
        for number in range(10000):
            yield np.full(5, number, dtype=np.float32)

    for window in scored.stream(pieces()):
        base = window.samples if window.samples.base is None else window.samples.base
        alive.append(len(base))
    assert max(alive) <= scored.size + scored.hop + scored.middle + 5


@pytest.mark.parametrize("patch_size", [16, [16, 4]])
@pytest.mark.parametrize("samples", [100, 3000, 31999, 32000, 32001, 62000, 64000, 80000])
def test_files_and_waveforms_get_the_same_scores(tmp_path, patch_size, samples):
    model = tagging_model(multilabel=True, head="frames", clip_sec=1.0, patch_size=patch_size)
    path = write_tone(tmp_path / "a.wav", samples / 32000)
    frames = encode_file(ScoreEncoder(model), str(path), batch_size=2)
    audio, rate = soundfile.read(path, dtype="float32")
    with torch.no_grad():
        logits, times = model.frame_logits(torch.from_numpy(audio)[None], rate)
    assert frames.scores == pytest.approx(logits[0].sigmoid().numpy(), abs=1e-5)
    assert np.array_equal(frames.times, times.numpy()) and len(frames.times) == len(frames.scores)
    assert len(times) == model.scored_windows.num_columns(samples)


def test_the_last_window_ends_with_the_clip():
    """Its columns are those of the last 6 columns alone, and not those of a window that is mostly padding."""
    model = tagging_model(multilabel=True, head="frames", clip_sec=1.0)
    waveform = noise(30720 + 5120, 1)  # one column beyond the 6 of the first window
    with torch.no_grad():
        logits, _ = model.frame_logits(waveform, 32000)
        alone = model.network(torch.nn.functional.pad(waveform[:, 5120:], (0, 1280)))  # (1, 6, C)
        padded = model.network(torch.nn.functional.pad(waveform[:, 30720:], (0, 26880)))
    assert logits.shape[1] == 7 and torch.allclose(logits[:, 6], alone[:, 5], atol=1e-5)
    assert not torch.allclose(logits[:, 6], padded[:, 0], atol=1e-3)
