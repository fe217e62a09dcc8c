"""A file read block by block is the same file read as a whole."""

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import load_clip
from maskspec_fairseq.audio.stream import stream_clip
from maskspec_fairseq.audio.windows import cut, cut_evenly

RATE = 32000


def write_noise(path, frames, rate, channels=1, **kwargs):
    rng = np.random.default_rng([frames, rate, channels])
    soundfile.write(path, rng.uniform(-0.5, 0.5, (frames, channels)), rate, **kwargs)
    return str(path)


@pytest.mark.parametrize(
    "name, subtype",
    [("a.wav", "PCM_16"), ("a.wav", "FLOAT"), ("a.flac", "PCM_24"), ("a.ogg", "VORBIS"), ("a.mp3", None)],
)
@pytest.mark.parametrize("rate, channels", [(RATE, 1), (8000, 1), (44100, 2)])
def test_the_pieces_of_every_format_are_the_clip_that_is_read_whole(tmp_path, name, subtype, rate, channels):
    path = write_noise(tmp_path / name, rate + 77, rate, channels, subtype=subtype)
    whole, _ = load_clip(path, RATE, channel="mid")
    pieces = list(stream_clip(path, RATE, "mid", block_frames=3000))
    assert len(pieces) > 2 and all(piece.dtype == np.float32 for piece in pieces)
    assert np.array_equal(np.concatenate(pieces), whole)


def test_an_mp3_is_decoded_in_blocks_as_it_is_whole(tmp_path):
    """soundfile's own reading in blocks loses what the frames of a low rate refer to."""
    path = write_noise(tmp_path / "a.mp3", 66150, 22050)
    whole = soundfile.read(path, dtype="float32")[0]
    streamed = np.concatenate(list(stream_clip(path, 22050, block_frames=4096)))
    np.testing.assert_allclose(streamed, whole, atol=1e-6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.sampled_from([8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000]),
    frames=st.integers(6, 60000),
    channels=st.integers(1, 3),
    block_frames=st.integers(500, 70000),
    size=st.integers(1000, 20000),
    share=st.floats(0.1, 1),
)
def test_windows_are_those_of_the_clip_that_is_read_whole(tmp_path, rate, frames, channels, block_frames, size, share):
    path = write_noise(tmp_path / "a.wav", frames, rate, channels)
    whole, _ = load_clip(path, RATE)

    even = list(cut_evenly(stream_clip(path, RATE, block_frames=block_frames), size))
    last = max(0, len(whole) - size)
    assert [window.start for window in even] == [*range(0, last, size), last]
    for window in even:
        assert np.array_equal(window.samples, whole[window.start : window.start + size])

    hop = max(1, round(share * size))
    parts = list(cut(stream_clip(path, RATE, block_frames=block_frames), size, hop))
    assert [part.start for part in parts] == [hop * n for n in range(len(parts))]
    for part in parts:
        assert np.array_equal(part.samples, whole[part.start : part.start + size])
    assert [part.end == len(whole) for part in parts] == [False] * (len(parts) - 1) + [True]


def test_pieces_come_before_the_end_of_the_file_is_read(tmp_path):
    """The last sample of this file is NaN, which does not affect its first piece."""
    path = tmp_path / "a.wav"
    samples = np.zeros(50000, dtype=np.float32)
    samples[-1] = np.nan
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    pieces = stream_clip(str(path), RATE, block_frames=1000)
    assert len(next(pieces)) == 1000
    with pytest.raises(AudioError, match="expected finite samples, found NaN or infinity"):
        list(pieces)


def truncated(path):
    write_noise(path.with_suffix(".whole.flac"), 100000, RATE)
    data = path.with_suffix(".whole.flac").read_bytes()
    path.write_bytes(data[: len(data) // 2])


def samples(values, rate=RATE):
    return lambda path: soundfile.write(path, np.array(values, dtype=np.float32), rate, subtype="FLOAT", format="WAV")


@pytest.mark.parametrize(
    "name, make, message",
    [
        ("nan.wav", samples([0.1] * 5000 + [np.nan]), "expected finite samples, found NaN or infinity"),
        ("inf.wav", samples([0.1] * 5000 + [-np.inf]), "expected finite samples, found NaN or infinity"),
        ("loud.wav", samples([0.1] * 5000 + [2e10]), "expected samples with a full scale of 1, found 2e"),
        ("empty.wav", samples([]), "expected audio, found a file of 0 frames"),
        ("one.wav", samples([0.1], 96000), "expected a sample at 32000 Hz at least, found 1 at 96000 Hz"),
        ("cut.flac", truncated, "expected (100000 frames, found .* is the file cut off|audio that soundfile decodes)"),
        ("text.wav", lambda path: path.write_text("no audio"), "expected audio that soundfile decodes"),
        ("folder.wav", lambda path: path.mkdir(), "expected audio that soundfile decodes, found: a directory"),
        ("none.wav", lambda path: None, "expected audio that soundfile decodes, found: .*No such file"),
    ],
)
def test_what_is_no_whole_sound_is_refused_as_when_it_is_read_whole(tmp_path, name, make, message):
    path = tmp_path / name
    make(path)
    with pytest.raises(AudioError, match=message) as streamed:
        list(stream_clip(str(path), RATE, block_frames=1000))
    assert name in str(streamed.value)
    with pytest.raises(AudioError):
        load_clip(str(path), RATE)
