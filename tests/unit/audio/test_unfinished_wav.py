"""Wavs whose header was never finished, made by setting the sizes in the header as recorders leave them."""

import struct
import tarfile

import numpy as np
import pytest
import soundfile

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import open_audio, read_audio
from maskspec_fairseq.audio.unfinished_wav import finish

RATE = 16000
SAMPLES = np.random.default_rng(0).uniform(-0.5, 0.5, RATE - 1).astype(np.float32)


def unfinished(path, riff, data, subtype="PCM_16"):
    soundfile.write(path, SAMPLES, RATE, subtype=subtype)
    whole, content = soundfile.read(path, dtype="float32")[0], bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[4:8], content[place : place + 4] = struct.pack("<I", riff), struct.pack("<I", data)
    content = content[: place + 4 + len(whole) * int(subtype[-2:].replace("AT", "32")) // 8]  # without padding
    path.write_bytes(content)
    return whole, bytes(content)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("riff, data", [(0, 0), (36, 0), (2**32 - 1, 0), (0, 2**32 - 1), (2**32 - 1, 2**32 - 1)])
def test_all_samples_are_read(tmp_path, caplog, riff, data, subtype):
    path = tmp_path / "killed.wav"
    whole, content = unfinished(path, riff, data, subtype)
    found = read_audio(str(path))[0][:, 0]
    assert len(found) >= len(whole) - 1 and np.array_equal(found, whole[: len(found)])
    with open_audio(f"{path}:4000:100") as piece:
        assert np.array_equal(piece.read(100)[:, 0], whole[4000:4100])
    assert path.read_bytes() == content  # only what is read is mended
    if data == 0:
        assert caplog.text.count("killed.wav: its header says 0 samples and was never finished") == 1


def test_an_empty_wav_stays_empty(tmp_path):
    path = tmp_path / "empty.wav"
    soundfile.write(path, SAMPLES[:0], RATE)
    content = path.read_bytes() + b"LIST\4\0\0\0INFO"  # a chunk after no samples
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    assert finish(str(path)) is None
    with pytest.raises(AudioError, match="a file of 0 frames"):
        read_audio(str(path))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("riff, data", [(0, 0), (36, 0), (0, 2**32 - 1)])
def test_all_samples_are_read_in_a_pack(tmp_path, caplog, riff, data):
    whole, _ = unfinished(tmp_path / "killed.wav", riff, data)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "killed.wav", "killed.wav")
        tar.add(tmp_path / "killed.wav", "again.wav")
    with tarfile.open(tmp_path / "a.tar") as tar:
        places = [f"{tmp_path}/a.tar:{member.offset_data}:{member.size}" for member in tar]
    for place in places:
        assert np.array_equal(read_audio(place)[0][:, 0], whole)
        with open_audio(f"{place}:4000:100") as piece:
            assert np.array_equal(piece.read(100)[:, 0], whole[4000:4100])
    assert caplog.text.count("its header says 0 samples and was never finished") == (2 if data == 0 else 0)
