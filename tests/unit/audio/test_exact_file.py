"""Reading from anywhere gives the samples that decoding from the beginning gives."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import open_audio, read_audio

FRAMES = 300077  # more than an ogg's last page may have
CBR = dict(bitrate_mode="CONSTANT", compression_level=0.5)
VBR = dict(bitrate_mode="VARIABLE", compression_level=0.95)  # as few bytes as possible, so frames refer far back


def write_sound(path, rate, channels=1, frames=FRAMES, **kwargs):
    """Bursts of noise between stretches of a tone and of silence, whose frames and pages differ in size."""
    t = np.arange(frames) / rate
    noise = 0.2 * np.random.default_rng(rate).standard_normal((frames, channels)).clip(-3, 3)
    tone = 0.2 * np.sin(2 * np.pi * 440 * t) * (np.sin(1.7 * t) > 0)
    samples = noise * np.abs(np.sin(3 * t))[:, None] ** 6 + tone[:, None]
    with soundfile.SoundFile(path, "w", rate, channels, **kwargs) as file:
        for first in range(0, frames, rate):  # libsndfile 1.2.2 crashes if a minute of ogg is written at once
            file.write(samples[first : first + rate])
    return str(path)


def mp3_in_wav(path, rate, **kwargs):
    """As WAVEFORMATEX 0x55, MPEGLAYER3WAVEFORMAT; libsndfile reads it and does not write it."""
    data = Path(write_sound(path.with_suffix(".mp3"), rate, **kwargs)).read_bytes()
    encoding = struct.pack("<HHIIHHHHIHHH", 0x55, 1, rate, 8000, 1, 0, 12, 1, 2, 417, 1, 1393)
    chunks = ((b"fmt ", encoding), (b"fact", struct.pack("<I", FRAMES)), (b"data", data))
    body = b"WAVE" + b"".join(name + struct.pack("<I", len(content)) + content for name, content in chunks)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return str(path)


MAKERS = {
    "wav": lambda d: write_sound(d / "a.wav", 44100, 2),
    "adpcm": lambda d: write_sound(d / "a.wav", 22050, subtype="IMA_ADPCM"),
    "gsm": lambda d: write_sound(d / "a.wav", 8000, frames=40000, subtype="GSM610"),
    "g721": lambda d: write_sound(d / "a.au", 8000, frames=40000, subtype="G721_32"),
    "flac": lambda d: write_sound(d / "a.flac", 32000),
    "vorbis": lambda d: write_sound(d / "a.ogg", 44100, 2),
    "vorbis of a low rate": lambda d: write_sound(d / "a.ogg", 16000),
    "opus": lambda d: write_sound(d / "a.opus", 48000, format="OGG", subtype="OPUS"),
    "mp3, constant": lambda d: write_sound(d / "a.mp3", 44100, 2, **CBR),
    "mp3, variable": lambda d: write_sound(d / "a.mp3", 48000, **VBR),
    "mp3, variable, of a low rate": lambda d: write_sound(d / "a.mp3", 22050, **VBR),
    "mp3 in a wav": lambda d: mp3_in_wav(d / "a.wav", 44100, **VBR),
}
# MPEG-2, of rates below 32 kHz, is rounded in another way after each seek; Opus predicts from all that came before.
TOLERANCE = {"opus": 1e-5, "mp3, variable, of a low rate": 5e-7}


@pytest.mark.parametrize("kind", MAKERS)
def test_samples_do_not_depend_on_where_reading_begins(tmp_path, kind):
    path = MAKERS[kind](tmp_path)
    with open_audio(path) as file:
        whole = file.read(file.frames, dtype="float32", always_2d=True)  # (T, C)
    total = len(whole)

    @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(1, total - 1) | st.integers(max(1, total - 20000), total - 1), st.integers(1, 9000))
    def check(start, frames):
        with open_audio(path) as file:
            file.seek(start)
            part = file.read(frames, dtype="float32", always_2d=True)
        expected = whole[start : start + frames]
        assert part.shape == expected.shape and np.abs(part - expected).max() <= TOLERANCE.get(kind, 0)

    check()


def test_an_mp3_inside_a_wav_may_be_shorter_than_its_header_says(tmp_path):
    path = tmp_path / "a.wav"
    mp3_in_wav(path, 44100, **CBR)
    data = path.read_bytes()
    tag = data.index(b"Info")
    path.write_bytes(data[:tag] + bytes(8) + data[tag + 8 :])  # without a length of its own, which is then estimated
    for seed in range(20):
        assert len(read_audio(str(path), 2.0, np.random.default_rng(seed))[0]) == 88200
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioError, match="is the file cut off"):
        read_audio(str(path))


def test_a_position_is_counted_from_the_beginning(tmp_path):
    path = write_sound(tmp_path / "a.wav", 8000)
    with open_audio(path) as file, pytest.raises(ValueError, match="expected a position from the beginning"):
        file.seek(10, soundfile.SEEK_CUR)
