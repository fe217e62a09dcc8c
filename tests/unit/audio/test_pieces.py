"""The notation of pieces of files, and reading them."""

import numpy as np
import pytest
import soundfile

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.pieces import Piece, file_on_disk, split_piece
from maskspec_fairseq.audio.read import load_clip, open_audio, read_audio
from maskspec_fairseq.audio.stream import stream_clip
from tests.factories import NOISE, PACK_RATE, encoded, int16, write_waveforms, write_zip


@pytest.mark.parametrize("path", ["day.wav", "a b/day one.flac", "day.wav:1:2", "x.zip:10:20", "x.hdf:17", "X.ZIP:1:2"])
def test_written_and_split_again(path):
    piece = Piece(path, 441000, 44100)
    assert str(piece) == f"{path}:441000:44100"
    assert split_piece(str(piece)) == piece


@pytest.mark.parametrize(
    "path", ["day.wav", "x.zip:10:20", "x.hdf:17", "day.wav:5", "day.wav:a:b", "day.wav:-1:5", ":1:2"]
)
def test_whole_files_and_clips_in_packs_are_no_pieces(path):
    assert split_piece(path) is None


def test_existing_file_of_that_name_wins(tmp_path):
    path = f"{tmp_path}/12:30:00"
    assert split_piece(path) == Piece(f"{tmp_path}/12", 30, 0)
    open(path, "w").close()
    assert split_piece(path) is None


@pytest.fixture(params=["a.wav", "a.flac", "a.ogg", "a.mp3", "a.h5:1", "a.zip"])
def long_file(tmp_path, request):
    """The path of a file, or a clip in a pack, and its samples, (T, 1)."""
    path = tmp_path / request.param
    if request.param == "a.h5:1":
        write_waveforms(tmp_path / "a.h5", int16(NOISE[:2]))
    elif request.param == "a.zip":
        path = next(iter(write_zip(path, {"b.flac": encoded(NOISE[0], "flac")}).values()))
    else:
        soundfile.write(path, NOISE[0], PACK_RATE)
    return str(path), read_audio(str(path))[0]


def test_a_piece_is_that_part_of_the_file(long_file):
    path, whole = long_file
    with open_audio(path) as file, open_audio(f"{path}:5000:20000") as piece:
        assert (piece.samplerate, piece.channels, piece.format) == (file.samplerate, file.channels, file.format)
        assert piece.frames == 20000
        piece.seek(19000)
        np.testing.assert_allclose(piece.read(5000), whole[24000:25000], atol=5e-7)
        piece.seek(0)
        if "mp3" not in path:  # whose decoder is exact from where a file was opened
            assert np.array_equal(piece.read(10), whole[5000:5010])
    assert np.array_equal(read_audio(f"{path}:5000:20000")[0], whole[5000:25000])
    assert np.array_equal(np.concatenate(list(stream_clip(f"{path}:5000:20000", PACK_RATE))), whole[5000:25000, 0])
    assert np.array_equal(load_clip(f"{path}:5000:20000", PACK_RATE, 0.1)[0], whole[5000 : 5000 + PACK_RATE // 10, 0])
    crop, _ = read_audio(f"{path}:5000:20000", 0.1, np.random.default_rng(0))
    assert any(np.array_equal(crop, whole[n : n + len(crop)]) for n in range(5000, 25001 - len(crop)))


@pytest.mark.parametrize("place", ["60000:10000", "0:0", "999999:1"])
def test_a_piece_beyond_the_end_is_refused(long_file, place):
    path, whole = long_file
    found = f"expected a piece within the {len(whole)} frames of the file, found frames .*; build the manifest again"
    with pytest.raises(AudioError, match=found):
        read_audio(f"{path}:{place}")


def test_the_end_of_an_estimated_length_may_be_missing_from_its_piece_alone(tmp_path):
    path = tmp_path / "a.mp3"
    soundfile.write(path, np.resize(NOISE[0], 200000), 44100, bitrate_mode="CONSTANT", compression_level=0.5)
    data = path.read_bytes()
    path.write_bytes(data[data.index(data[:2], 4) :][:-2000])  # without the frame that says how long it is
    with open_audio(str(path)) as file:
        total = file.frames
        assert len(file.read(total)) < total
    assert len(read_audio(f"{path}:{total - 20000}:20000")[0]) < 20000
    path.write_bytes(data[: len(data) // 2])  # with it, and cut off
    with pytest.raises(AudioError, match="is the file cut off"):
        read_audio(f"{path}:120000:10000")


def test_the_file_on_the_disk():
    names = {
        "a.wav": "a.wav",
        "a.wav:1:2": "a.wav",
        "a.zip:1:2": "a.zip",
        "a.zip:1:2:3:4": "a.zip",
        "a.h5:1:2:3": "a.h5",
    }
    assert {path: file_on_disk(path) for path in names} == names
