"""What the tests share: small corpora that they make themselves, and the real recordings where they are there."""

import importlib.util
import logging
import re
from pathlib import Path

import pytest

HAS_FAIRSEQ = importlib.util.find_spec("fairseq") is not None
if HAS_FAIRSEQ:
    # Before the plugin, which then registers with it. fairseq sets the root logger to DEBUG at import; numba's
    # and matplotlib's floods help nobody.
    import fairseq  # noqa: F401

    logging.getLogger().setLevel(logging.INFO)

from tests.factories import REPOSITORY, write_tone  # noqa: E402

# Without fairseq, on Python 3.13 say, everything but training is tested.
collect_ignore = [] if HAS_FAIRSEQ else ["integration", "gpu"]
NEEDS_FAIRSEQ = re.compile(
    r"^(?:from|import) (?:fairseq|hydra|omegaconf|benchmarks|tests\.fairseq_factories|"
    r"maskspec_fairseq\.(?:criterions|data\.audio_dataset|models|optim|tasks))\b",
    re.MULTILINE,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", choices=["cuda", "cpu"], default="cuda", help="where tests/gpu runs (default: cuda)")


def pytest_ignore_collect(collection_path: Path):
    """Leave out the files that import fairseq where there is none."""
    if HAS_FAIRSEQ or collection_path.suffix != ".py":
        return None  # let others decide
    return True if NEEDS_FAIRSEQ.search(collection_path.read_text()) else None


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


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> Path:
    """A data directory of 24 training and 8 validation clips of 0.5 to 2 s at three rates, with statistics."""
    from maskspec_fairseq.data.measure_mel import measure_mel_statistics
    from maskspec_fairseq.data_dir.manifest import Manifest, write_manifest
    from maskspec_fairseq.data_dir.mel_stats import write_mel_statistics
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
