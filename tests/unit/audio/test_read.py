import os
import re

import numpy as np
import pytest
import soundfile

from maskspec_fairseq.audio import AudioError, read
from maskspec_fairseq.audio.read import load_clip, mix_down, read_audio

RATE = 32000


def sine(hz, seconds, rate):
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def test_channels():
    audio = np.array([[1.0, 3.0, 8.0], [2.0, 4.0, 0.0]])
    assert mix_down(audio, "mix").tolist() == [4.0, 2.0]
    assert mix_down(audio, "left").tolist() == [1.0, 2.0]
    assert mix_down(audio, "right").tolist() == [3.0, 4.0]
    assert mix_down(audio, "mid").tolist() == [2.0, 3.0]
    for channel in ("mix", "left", "right", "mid"):
        assert mix_down(audio[:, :1], channel).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="expected task.channel out of .* found 'side'"):
        mix_down(audio, "side")


@pytest.mark.parametrize(
    "name, rate, subtype",
    [
        ("a.wav", 32000, "PCM_16"), ("a.wav", 48000, "PCM_24"), ("a.flac", 44100, "PCM_16"), ("a.wav", 8000, "PCM_U8"),
        ("a.ogg", 44100, "VORBIS"), ("a.mp3", 44100, "MPEG_LAYER_III"), ("a.wav", 96000, "FLOAT"),
    ],
)  # fmt: skip
def test_every_format_and_rate_becomes_the_same_tone(tmp_path, name, rate, subtype):
    path = tmp_path / name
    soundfile.write(path, sine(1000, 2.0, rate), rate, subtype=subtype)
    clip, num_samples = load_clip(str(path), RATE, clip_sec=1.5)
    assert clip.dtype == np.float32 and len(clip) == num_samples == 1.5 * RATE
    middle = slice(RATE // 4, RATE)  # away from the codec's edges
    phase = np.exp(-2j * np.pi * 1000 * np.arange(len(clip)) / RATE)[middle]
    amplitude = 2 * abs((clip[middle] * phase).mean())
    assert amplitude == pytest.approx(0.5, rel=0.03)
    residue = clip[middle] - 2 * (((clip[middle] * phase).mean()) / phase).real
    assert np.sqrt((residue**2).mean()) < 0.01


def test_resampling_removes_what_the_new_rate_cannot_hold(tmp_path):
    path = tmp_path / "high.wav"
    soundfile.write(path, sine(30000, 1.0, 96000), 96000)
    clip, _ = load_clip(str(path), RATE)
    assert np.abs(clip[1000:-1000]).max() < 1e-3  # it would alias to 2 kHz at full strength


def test_short_clips_are_padded_and_say_so(tmp_path):
    path = tmp_path / "short.wav"
    soundfile.write(path, sine(500, 0.25, 8000), 8000)
    clip, num_samples = load_clip(str(path), RATE, clip_sec=1.0)
    assert len(clip) == RATE and num_samples == RATE // 4
    assert np.abs(clip[:num_samples]).max() > 0.4 and not clip[num_samples:].any()


def test_crops_are_random_in_training_and_the_beginning_otherwise(tmp_path):
    path = tmp_path / "ramp.wav"
    ramp = np.linspace(-1, 1, 10 * 1000, dtype=np.float32)
    soundfile.write(path, ramp, 1000, subtype="FLOAT")
    audio, rate = read_audio(str(path), clip_sec=2.0)
    assert rate == 1000 and np.array_equal(audio[:, 0], ramp[:2000])
    starts = set()
    for seed in range(200):
        audio, _ = read_audio(str(path), clip_sec=2.0, rng=np.random.default_rng(seed))
        start = int(np.argmin(np.abs(ramp - audio[0, 0])))
        assert np.array_equal(audio[:, 0], ramp[start : start + 2000])
        starts.add(start)
    assert len(starts) > 180 and min(starts) < 500 and max(starts) > 7500


def test_unusable_files_are_named(tmp_path):
    cases = {
        "empty.wav": "a file of 0 frames",
        "text.wav": "audio that soundfile decodes, found",
        "gone.wav": "audio that soundfile decodes, found",
        "nan.wav": "finite samples, found NaN",
    }
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    (tmp_path / "text.wav").write_text("not audio at all")
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), RATE, subtype="FLOAT")
    for name, message in cases.items():
        with pytest.raises(AudioError, match=f"{name}: expected .*{message}"):
            load_clip(str(tmp_path / name), RATE)


def test_a_file_cut_off_is_refused(tmp_path):
    path = tmp_path / "cut.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, RATE), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match="cut.flac"):
        load_clip(str(path), RATE)


def test_samples_on_the_scale_of_int16_are_named_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(read, "_warned", [0])
    for name, scale in (("sound.wav", 8.0), ("counts.wav", 32768.0), ("more.wav", 32768.0)):
        soundfile.write(tmp_path / name, scale * sine(500, 0.1, RATE), RATE, subtype="FLOAT")
        assert np.abs(read_audio(str(tmp_path / name))[0]).max() == pytest.approx(scale / 2, rel=1e-3)
    assert [record.getMessage().split(": ")[0] for record in caplog.records] == [str(tmp_path / "counts.wav")]
    assert "found a peak of 16384; on the scale of int16, divide by 32768" in caplog.text


@pytest.mark.parametrize("rate", [1, 999])
def test_an_impossible_sample_rate_is_refused(tmp_path, rate):
    path = tmp_path / "slow.wav"
    soundfile.write(path, np.zeros(2000), rate)
    message = f"slow.wav: expected a sample rate of at least 1000 Hz in its header, found {rate}; encode it again"
    with pytest.raises(AudioError, match=message):
        load_clip(str(path), RATE)


def test_a_file_that_ffmpeg_decodes_is_named_with_the_command(tmp_path):
    (tmp_path / "voice memo.m4a").write_bytes(b"\x00\x00\x00\x18ftypM4A " + bytes(200))
    with pytest.raises(
        AudioError, match=re.escape(f"ffmpeg -i '{tmp_path}/voice memo.m4a' -vn '{tmp_path}/voice memo.f")
    ):
        load_clip(str(tmp_path / "voice memo.m4a"), 32000)


def test_a_name_that_is_not_utf_8_is_said(tmp_path):
    path = os.path.join(tmp_path, os.fsdecode(b"bad\xff.wav"))
    with open(path, "wb") as stream:
        soundfile.write(stream, np.zeros(100), 8000, format="WAV")
    with pytest.raises(AudioError, match="expected a path in UTF-8"):
        load_clip(path, 32000)
