"""maskspec-build segments."""

import unicodedata

import numpy as np
import pytest
import soundfile

from maskspec_fairseq.audio.pieces import split_piece
from maskspec_fairseq.data_dir.labels import read_vocabulary
from tests.factories import read_subset, run_build

RATE = 8000
ROWS = [
    ("one/a.wav", "0", "1.5", "Dog"), ("one/a.wav", "1", "2", "Füße, nass"), ("one/a.wav", "0", "1.5", "rain"),
    ("b.flac", "0.25", "2", "rain"), ("#c.wav", "1", "2", "Dog"),
]  # fmt: skip
EXPECTED = {
    ("one/a.wav", 0, 12000): ["dog", "rain"], ("one/a.wav", 8000, 8000): ["füsse_nass"],
    ("b.flac", 2000, 14000): ["rain"], ("#c.wav", 8000, 8000): ["dog"],
}  # fmt: skip


@pytest.fixture()
def audio(tmp_path):
    """Three files of two seconds."""
    for name in ("one/a.wav", "b.flac", "#c.wav"):
        (tmp_path / "audio" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "audio" / name, np.random.default_rng(0).uniform(-0.5, 0.5, 2 * RATE), RATE)
    return tmp_path / "audio"


def write_csv(path, rows):
    quoted = [",".join(f'"{field}"' for field in row) for row in [("file", "start", "end", "label"), *rows]]
    path.write_text("\r\n".join(quoted) + "\r\n", encoding="utf-8-sig")
    return path


def write_audacity(directory, rows):
    for name in {row[0] for row in rows}:
        path = (directory / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{start}\t{end}\t{label}\n\\\t100.0\t2000.0\n" for file, start, end, label in rows if file == name]
        path.write_text("".join(lines), encoding="utf-8")
    return directory


@pytest.mark.parametrize("write, target", [(write_csv, "labels.csv"), (write_audacity, "labels")])
def test_labels_in_time_become_labelled_pieces(audio, tmp_path, write, target):
    labels = write(tmp_path / target, ROWS)
    run_build("segments", labels, "--audio-dir", audio, "--out", tmp_path / "data", "--stats-clips", 0)
    names = {label.key: label.name for label in read_vocabulary(tmp_path / "data" / "labels.csv")}
    assert names == {"dog": "Dog", "füsse_nass": "Füße, nass", "rain": "rain"}
    found, files = {}, []
    for subset in ("train", "valid"):
        manifest, keys = read_subset(tmp_path / "data", subset)
        pieces = [split_piece(path) for path in manifest.paths]
        found.update({tuple(piece): sorted(labels) for piece, labels in zip(pieces, keys)})
        files.append({piece.path for piece in pieces})
    assert found == EXPECTED and not files[0] & files[1] and all(files)
    assert "no errors" in run_build("check", tmp_path / "data", "--decode").stdout


@pytest.mark.parametrize(
    "row, message",
    [
        (("one/a.wav", "1.5", "1", "Dog"), "a later end within the 2.000 s of one/a.wav, found '1.5' and '1'"),
        (("one/a.wav", "1", "2.1", "Dog"), "a later end within the 2.000 s of one/a.wav, found '1' and '2.1'"),
        (("one/a.wav", "-1", "1", "Dog"), "found '-1' and '1'"),
        (("one/a.wav", "nan", "1", "Dog"), "found 'nan' and '1'"),
        (("one/a.wav", "0:01", "1", "Dog"), "found '0:01' and '1'"),
        (("gone.wav", "0", "1", "Dog"), "expected the path of an audio file, found 'gone.wav' of []"),
        (("one/a.wav", "0", "1", " "), "expected a label, found ''"),
        (("one/a.wav", "0", "1"), "expected 4 cells, as in the header, found"),
        (("broken.wav", "0", "1", "Dog"), "expected audio, found 'broken.wav', unreadable"),
    ],
)
def test_rows_that_do_not_fit_are_named_by_their_line(audio, tmp_path, row, message):
    (audio / "broken.wav").write_text("no audio")
    labels = write_csv(tmp_path / "labels.csv", [*ROWS, row])
    done = run_build("segments", labels, "--audio-dir", audio, "--out", tmp_path / "data", code=2)
    assert f"{labels}, line 7: " in done.stderr and message in done.stderr and not (tmp_path / "data").exists()


def test_tables_that_do_not_fit_are_refused(audio, tmp_path):
    def refused(labels):
        return run_build("segments", labels, "--audio-dir", audio, "--out", tmp_path / "data", code=2).stderr

    (tmp_path / "a.csv").write_text("name,from,to,class\n")
    assert "a.csv, line 1: expected one column 'file', found the columns ['name'" in refused(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(b"file,start,end,label\n\xe9,0,1,a\n")
    assert "a.csv, line 2: expected UTF-8, found" in refused(tmp_path / "a.csv")
    assert "expected a class with two files or groups at least" in refused(write_csv(tmp_path / "a.csv", ROWS[:3]))
    (tmp_path / "labels").mkdir()
    assert "expected label files (.txt) below" in refused(tmp_path / "labels")
    (tmp_path / "labels" / "gone.txt").write_text("0\t1\ta\n")
    assert "gone.txt: expected one audio file called gone, found []" in refused(tmp_path / "labels")


def test_names_that_look_the_same_are_the_same(audio, tmp_path):
    """macOS writes é as two characters."""
    (audio / "b.flac").rename(audio / unicodedata.normalize("NFD", "é.flac"))
    composed = unicodedata.normalize("NFC", "é.flac")
    labels = write_csv(tmp_path / "labels.csv", [(composed, "0", "1", "rain"), ("#c.wav", "0", "1", "rain")])
    assert "train 1, valid 1" in run_build("segments", labels, "--audio-dir", audio, "--out", tmp_path / "data").stdout
