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


EVENT_ROWS = [
    ("one/a.wav", "0", "0.5", "Dog"), ("one/a.wav", "0.25", "1.75", "rain"), ("one/a.wav", "1.5", "2", "Dog"),
    ("b.flac", "0.25", "2", "rain"), ("b.flac", "", "", "Dog"), ("#c.wav", "", "", ""),
]  # fmt: skip


def read_clips(directory, subset):
    """Path, keys and events of each clip."""
    manifest, keys = read_subset(directory, subset)
    lines = (directory / f"{subset}.events").read_text().splitlines()
    return {path: (sorted(labels), line) for path, labels, line in zip(manifest.paths, keys, lines)}


def write_desed(path, rows):
    lines = ["\t".join(row) for row in [("filename", "onset", "offset", "event_label"), *rows]]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("write, target", [(write_csv, "labels.csv"), (write_desed, "labels.tsv")])
def test_files_become_clips_with_their_events(audio, tmp_path, write, target):
    labels = write(tmp_path / target, EVENT_ROWS)
    run_build("segments", labels, "--audio-dir", audio, "--events", "--out", tmp_path / "data", "--stats-clips", 0)
    assert {**read_clips(tmp_path / "data", "train"), **read_clips(tmp_path / "data", "valid")} == {
        "one/a.wav": (["dog", "rain"], "0:4000:dog,2000:14000:rain,12000:16000:dog"),
        "b.flac": (["dog", "rain"], "2000:16000:rain"),  # when the dog barks is unknown
        "#c.wav": ([], ""),  # nothing sounds there
    }
    assert "events\n" in run_build("check", tmp_path / "data").stdout


def test_long_files_are_cut_with_the_events_of_each_piece(audio, tmp_path):
    labels = write_csv(tmp_path / "labels.csv", [*EVENT_ROWS[:3], ("b.flac", "0.25", "2", "rain")])
    arguments = ["--audio-dir", audio, "--events", "--segment-sec", 1, "--out", tmp_path / "data", "--stats-clips", 0]
    run_build("segments", f"train={labels}", *arguments)
    assert read_clips(tmp_path / "data", "train") == {
        "b.flac:0:8000": (["rain"], "2000:8000:rain"), "b.flac:8000:8000": (["rain"], "0:8000:rain"),
        "one/a.wav:0:8000": (["dog", "rain"], "0:4000:dog,2000:8000:rain"),
        "one/a.wav:8000:8000": (["dog", "rain"], "0:6000:rain,4000:8000:dog"),
    }  # fmt: skip
    run_build("pack", tmp_path / "data", "--out", tmp_path / "packed")
    packed, loose = (list(read_clips(tmp_path / name, "train").values()) for name in ("packed", "data"))
    assert packed == loose and "no errors" in run_build("check", tmp_path / "packed").stdout


def test_subsets_may_be_named(audio, tmp_path):
    train = write_csv(tmp_path / "a.csv", EVENT_ROWS[:3])
    valid = write_audacity(tmp_path / "labels", [("b.flac", "0.25", "2", "rain")])
    (valid / "#c.txt").write_text("")  # nothing is labelled there
    data = tmp_path / "data"
    run_build("segments", f"train={train}", f"test={valid}", "--audio-dir", audio, "--events", "--out", data)
    assert list(read_clips(data, "train")) == ["one/a.wav"]
    assert read_clips(data, "test") == {"#c.wav": ([], ""), "b.flac": (["rain"], "2000:16000:rain")}
    both = ["segments", f"train={train}", f"test={train}", "--audio-dir", audio, "--events", "--out", data]
    assert (
        "expected each file in one subset, found 'one/a.wav' in 'train' and 'test'" in run_build(*both, code=2).stderr
    )
    mixed = ["segments", f"train={train}", valid, "--audio-dir", audio, "--events", "--out", data]
    assert "expected SUBSET= before all tables or none" in run_build(*mixed, code=2).stderr
    # a build without events leaves none behind
    run_build("segments", f"train={train}", f"test={valid}", "--audio-dir", audio, "--out", data)
    assert not list(data.glob("*.events"))


@pytest.mark.parametrize(
    "rows, arguments, message",
    [
        ([("one/a.wav", "1", "2.1", "Dog")], [], "a later end within the 2.000 s of one/a.wav, found '1' and '2.1'"),
        ([("one/a.wav", "1", "", "Dog")], [], "a later end within the 2.000 s of one/a.wav, found '1' and ''"),
        ([("one/a.wav", "1", "2", "")], [], "expected a label, found ''"),
        (EVENT_ROWS, ["--segment-sec", 1], "expected a start and an end in 'b.flac', which is cut into pieces, found"),
    ],
)
def test_events_that_do_not_fit_are_refused(audio, tmp_path, rows, arguments, message):
    labels = write_csv(tmp_path / "labels.csv", rows)
    build = ["segments", labels, "--audio-dir", audio, "--events", "--out", tmp_path / "data", *arguments]
    done = run_build(*build, code=2)
    assert f"{labels}, line " in done.stderr and message in done.stderr and not (tmp_path / "data").exists()


def test_pieces_are_cut_with_events_alone(audio, tmp_path):
    labels = write_csv(tmp_path / "labels.csv", ROWS)
    build = ["segments", labels, "--audio-dir", audio, "--out", tmp_path / "data", "--segment-sec", 1]
    assert (
        "expected --segment-sec and --segment-hop with --events, found them alone" in run_build(*build, code=2).stderr
    )


def test_check_names_events_that_do_not_fit(audio, tmp_path):
    labels = write_csv(tmp_path / "labels.csv", EVENT_ROWS)
    run_build("segments", f"train={labels}", "--audio-dir", audio, "--events", "--out", tmp_path / "data")
    path = tmp_path / "data" / "train.events"
    path.write_text(path.read_text().replace("14000:rain", "16001:rain"))
    done = run_build("check", tmp_path / "data", code=2)
    assert "train.events, line 3: expected a start and a later end within the 16000 frames of the clip" in done.stderr


def test_files_are_held_out_however_many_events_they_have(tmp_path):
    """A fifth of twenty files, of which four have one event and the others fifteen."""
    rows = []
    for number in range(20):
        name = f"{number}.wav"
        (tmp_path / "audio").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "audio" / name, np.full(2 * RATE, 0.1), RATE)
        rows += [
            (name, f"{0.1 * event:.1f}", f"{0.1 * event + 0.1:.1f}", "dog") for event in range(1 if number < 4 else 15)
        ]
    arguments = ["--audio-dir", tmp_path / "audio", "--valid-fraction", 0.2, "--stats-clips", 0]
    labels = write_csv(tmp_path / "labels.csv", rows)
    run_build("segments", labels, *arguments, "--events", "--out", tmp_path / "data")
    assert len(read_clips(tmp_path / "data", "valid")) == 4 and len(read_clips(tmp_path / "data", "train")) == 16


def test_spaces_around_a_label_make_no_other_class(audio, tmp_path):
    rows = [("one/a.wav", "0", "1", "dog"), ("b.flac", "0", "1", " dog"), ("#c.wav", "0", "1", "dog ")]
    labels = write_audacity(tmp_path / "labels", rows)
    run_build("segments", labels, "--audio-dir", audio, "--out", tmp_path / "data", "--stats-clips", 0)
    assert [label.key for label in read_vocabulary(tmp_path / "data" / "labels.csv")] == ["dog"]


@pytest.mark.parametrize("before", ["x/y=", ".x=", "="])
def test_what_cannot_be_a_subset_is_refused(audio, tmp_path, before):
    arguments = ["--audio-dir", audio, "--out", tmp_path / "data"]
    error = run_build("segments", f"{before}{write_csv(tmp_path / 'a.csv', ROWS)}", *arguments, code=2).stderr
    assert "expected SUBSET=FILE, such as train=train.csv, found" in error
