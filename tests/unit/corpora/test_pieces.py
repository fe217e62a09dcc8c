"""Cutting long files: --segment-sec and --segment-hop."""

import argparse
import os
import time

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from maskspec_fairseq.audio.pieces import split_piece
from maskspec_fairseq.audio.read import read_audio
from maskspec_fairseq.corpora.pieces import Cutting, Part, cut, cutting_of
from maskspec_fairseq.data.audio_dataset import AudioDataset
from maskspec_fairseq.data_dir.manifest import join_manifests, read_manifest
from tests.factories import read_subset, run_build
from tests.memory import kib

RATE = 1000


def spans(lines):
    pieces = [split_piece(path) for path, _ in lines]
    assert [piece.frames for piece in pieces] == [frames for _, frames in lines]
    return [(piece.first, piece.first + piece.frames) for piece in pieces]


@given(frames=st.integers(1, 100000), sec=st.floats(1, 30), share=st.floats(0.1, 1))
def test_pieces_cover_a_file_but_for_less_than_half_a_piece_at_its_end(frames, sec, share):
    size, hop = round(sec * RATE), max(1, round(sec * share * RATE))
    lines = cut("a.wav", frames, RATE, Cutting(sec, sec * share, sec))
    if frames <= sec * RATE:
        assert lines == [("a.wav", frames)]
        return
    found = spans(lines)
    assert [first for first, _ in found] == [hop * n for n in range(len(found))]
    assert all(end - first == size for first, end in found[:-1]) and size / 2 <= found[-1][1] - found[-1][0] <= size
    assert frames - size / 2 < found[-1][1] <= frames


@given(frames=st.integers(1, 200000), fraction=st.floats(0, 0.9), hop_sec=st.floats(1, 10))
def test_of_a_single_file_the_end_is_held_out_after_a_gap(frames, fraction, hop_sec):
    train, valid = (
        cut("a.wav", frames, RATE, Cutting(10.0, hop_sec, 60.0), Part(held_out, fraction)) for held_out in (False, True)
    )
    assert all(0 <= first < end <= frames for first, end in spans(train) + spans(valid))
    if frames >= 25000 and frames * (1 - fraction) >= 15001:
        gap = spans(valid)[0][0] - spans(train)[-1][1]
        assert 10000 <= gap <= 15000
        held_out = frames - spans(valid)[0][0]
        assert held_out == max(10000, round(fraction * frames)) and spans(valid)[-1][1] > frames - 5000
    elif train:
        assert spans(train)[-1][1] + 10000 <= spans(valid)[0][0]


def test_what_the_arguments_ask_for():
    def cutting(segment_sec, segment_hop=None):
        return cutting_of(argparse.Namespace(segment_sec=segment_sec, segment_hop=segment_hop))

    assert cutting(None) == (10, 10, 60) and cutting(0) is None
    assert cutting(5.0) == (5, 5, 5) and cutting(5.0, 2.0) == (5, 2, 5) and cutting(None, 4.0) == (10, 4, 60)


@pytest.fixture()
def long_files(tmp_path):
    """Three files, in two folders, of which the sample n is n / 2**15 of full scale."""
    for name, frames in (("calm/a.wav", 25600), ("calm/b.wav", 31000), ("loud/c.wav", 4000)):
        (tmp_path / "audio" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "audio" / name, (np.arange(frames) / 2**15).astype(np.float32), RATE)
    return tmp_path / "audio"


def test_a_folder_is_cut_and_says_so(long_files, tmp_path):
    out = tmp_path / "data"
    done = run_build(
        "folder", long_files, "--out", out, "--segment-sec", 10, "--segment-hop", 5, "--labels-from-parent",
        "--stats-clips", 0,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1].endswith("; 11 pieces of 10 s, cut from 2 of the files")
    files = {}
    for subset in ("train", "valid"):
        manifest, labels = read_subset(out, subset)
        for index, path in enumerate(manifest.paths):
            piece = split_piece(path)
            name, first = (path, 0) if piece is None else (piece.path, piece.first)
            assert labels[index] == [name.split("/")[0]]
            samples = read_audio(manifest.full_path(index))[0][:, 0] * 2**15
            assert len(samples) == manifest.frames[index] and np.array_equal(samples, first + np.arange(len(samples)))
            files.setdefault(name, set()).add(subset)
    assert sorted(files) == ["calm/a.wav", "calm/b.wav", "loud/c.wav"]
    assert all(len(subsets) == 1 for subsets in files.values())  # held-out pieces come from held-out files
    assert "no errors" in run_build("check", out, "--decode").stdout


def test_files_up_to_a_minute_stay_whole_unless_asked(long_files, tmp_path):
    soundfile.write(long_files / "d.wav", np.zeros(60001), RATE)
    done = run_build("folder", long_files, "--out", tmp_path / "data", "--stats-clips", 0)
    assert done.stdout.splitlines()[-1].endswith("; 6 pieces of 10 s, cut from 1 of the files")
    done = run_build("folder", long_files, "--out", tmp_path / "data", "--stats-clips", 0, "--segment-sec", 0)
    assert "cut into" not in done.stdout and "rejected 0 of 4 files" in done.stdout


def test_a_single_recording_is_its_own_validation(tmp_path):
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "day.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 45 * RATE), RATE)
    run_build("folder", tmp_path / "audio", "--out", tmp_path / "data", "--stats-clips", 0)
    paths = [read_manifest(tmp_path / "data" / f"{subset}.tsv").paths for subset in ("train", "valid")]
    assert [list(names) for names in paths] == [
        ["day.wav:0:10000", "day.wav:10000:10000", "day.wav:20000:5000"], ["day.wav:35000:10000"],
    ]  # fmt: skip
    soundfile.write(tmp_path / "audio" / "day.wav", np.full(20 * RATE, 0.1), RATE)
    done = run_build("folder", tmp_path / "audio", "--out", tmp_path / "data", "--stats-clips", 0, code=2)
    assert "no clip is left for train" in done.stderr
    assert "too short to hold out its end: 20.000 s" in (tmp_path / "data" / "train.rejected.tsv").read_text()


@pytest.mark.slow
def test_a_hundred_hours_are_an_epoch_of_36000_clips(tmp_path):
    """Links to one file, whose pieces are nevertheless opened and decoded one by one."""
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "0.wav", np.full(3600 * 8000, 100, np.int16), 8000)
    for number in range(1, 100):
        os.link(tmp_path / "audio" / "0.wav", tmp_path / "audio" / f"{number}.wav")
    begin = time.monotonic()
    done = run_build("folder", tmp_path / "audio", "--out", tmp_path / "data", "--stats-clips", 0)
    built = time.monotonic() - begin
    assert "36000 pieces of 10 s, cut from 100 of the files" in done.stdout and built < 60
    manifests = [read_manifest(tmp_path / "data" / f"{subset}.tsv") for subset in ("train", "valid")]
    dataset = AudioDataset(join_manifests(manifests), 8000, 10.0, training=True)
    assert len(dataset) == 36000
    memory = []
    for count, index in enumerate(np.random.default_rng(0).permutation(len(dataset))):
        assert dataset[int(index)]["num_samples"] == 80000
        if count % 1000 == 500:
            memory.append(kib("self", "RssAnon"))
    read = time.monotonic() - begin - built
    grown = max(memory) - memory[0]
    print(
        f"built in {built:.1f} s; 36000 clips in {read:.0f} s, memory {memory[0] / 1024:.1f} MiB, grown by {grown} KiB"
    )
    assert grown < 4 * 1024
