"""Recordings joined as `cat` joins files."""

import pytest
import soundfile

from maskspec_fairseq.audio.joined import further_frames
from tests.factories import NOISE

FRAMES = (21000, 41000, 30000)
CBR, VBR = (dict(bitrate_mode=mode, compression_level=0.5) for mode in ("CONSTANT", "VARIABLE"))


@pytest.mark.parametrize(
    "name, options", [("a.ogg", {}), ("a.opus", dict(format="OGG", subtype="OPUS")), ("a.mp3", CBR), ("a.mp3", VBR)]
)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_frames_after_the_first_recording_are_counted(tmp_path, name, options, count):
    path, parts = tmp_path / name, []
    for frames in FRAMES[:count]:
        soundfile.write(path, NOISE[0, :frames], 48000, **options)
        parts.append(path.read_bytes())
    path.write_bytes(b"".join(parts))
    further_frames.cache_clear()
    found = further_frames(str(path))
    if name == "a.mp3" and count == 3:  # of which the second file's header counts its own frames alone
        assert found >= FRAMES[1]
    else:
        assert found == sum(FRAMES[1:count])


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg"])
def test_what_follows_a_recording_may_be_a_tag(tmp_path, name):
    path = tmp_path / name
    soundfile.write(path, NOISE[0, :21000], 44100)
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    further_frames.cache_clear()
    assert further_frames(str(path)) == 0
