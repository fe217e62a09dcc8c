"""The notation of pieces of files."""

import pytest

from maskspec_fairseq.audio.pieces import Piece, split_piece


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
