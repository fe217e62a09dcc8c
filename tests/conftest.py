"""What the tests share: small corpora that they make themselves, and the real recordings where they are there."""

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile

# fairseq sets the root logger to DEBUG when it is imported; numba's and matplotlib's floods help nobody
import fairseq  # noqa: F401  # isort: skip

logging.getLogger().setLevel(logging.INFO)

REPOSITORY = Path(__file__).resolve().parents[1]
REAL_AUDIO = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def real_audio() -> Path:
    """Directory with esc10/ and fsdd/."""
    if not REAL_AUDIO.is_dir():
        pytest.skip(f"no recordings at {REAL_AUDIO}")
    return REAL_AUDIO


def write_tone(path: Path, seconds: float = 1.0, rate: int = 32000, hz: float = 440.0, channels: int = 1) -> Path:
    """A decaying tone over faint noise, different for every pitch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(int(hz)).standard_normal((len(t), channels))
    soundfile.write(path, 0.3 * (np.sin(2 * np.pi * hz * t) * np.exp(-t))[:, None] + 0.01 * noise, rate)
    return path


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> Path:
    """A data directory of 24 training and 8 validation clips of 0.5 to 2 s at three rates, with statistics."""
    from maskspec_fairseq.data.mel_statistics import measure_mel_statistics, write_mel_statistics
    from maskspec_fairseq.manifest import Manifest, write_manifest
    from maskspec_fairseq.modules.log_mel import LogMel

    directory = tmp_path_factory.mktemp("data")
    audio = directory / "audio"
    names, frames = [], []
    for number in range(32):
        rate = (32000, 44100, 8000)[number % 3]
        seconds = (0.5, 1.0, 2.0)[number % 5 % 3]
        names.append(f"clip {number:02d}.wav")
        frames.append(round(seconds * rate))
        write_tone(audio / names[-1], seconds, rate, hz=200 + 100 * (7 * number % 32))
    write_manifest(directory / "train.tsv", Manifest(str(audio), names[:24], frames[:24]))
    write_manifest(directory / "valid.tsv", Manifest(str(audio), names[24:], frames[24:]))
    files = [str(audio / name) for name in names[:24]]
    entry, _ = measure_mel_statistics(LogMel(), files, clip_sec=10.0, channel="mix")
    settings = {"front_end": LogMel().settings(), "channel": "mix", "clip_sec": 10.0}
    write_mel_statistics(str(directory / "mel_stats.json"), settings, {"train": entry}, keep={})
    return directory
