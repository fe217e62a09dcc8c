"""maskspec-build csv, by miniatures of FSD50K and UrbanSound8K, and tables that are refused."""

import pytest

from maskspec_fairseq.corpora.csv_rows import Files
from maskspec_fairseq.data_dir.labels import read_vocabulary
from tests.factories import read_subset, run_build, write_tone


def subset_lines(directory, name):
    manifest, labels = read_subset(directory, name)
    return dict(zip(manifest.paths, labels))


@pytest.fixture()
def fsd50k(tmp_path):
    """The layout of FSD50K: names without extension, train and val in one table, eval in another."""
    for n in range(1, 5):
        write_tone(tmp_path / "FSD50K" / "FSD50K.dev_audio" / f"{n}.wav", 0.1, 8000, hz=200 + n)
    write_tone(tmp_path / "FSD50K" / "FSD50K.eval_audio" / "5.wav", 0.1, 8000)
    tables = tmp_path / "FSD50K" / "FSD50K.ground_truth"
    tables.mkdir()
    (tables / "dev.csv").write_text(
        "fname,labels,mids,split\n"
        '1,"Electric_guitar,Guitar","/m/02sgy,/m/0342h",train\n'
        "2,Guitar,/m/0342h,train\n"
        '3,"Meow,Cat","/m/07qrkrw,/m/01yrx",train\n'
        "4,Cat,/m/01yrx,val\n"
    )
    (tables / "eval.csv").write_text('fname,labels,mids\n5,"Meow,Cat","/m/07qrkrw,/m/01yrx"\n')
    return tmp_path / "FSD50K"


def test_fsd50k(fsd50k, tmp_path):
    out = tmp_path / "data"
    tables = fsd50k / "FSD50K.ground_truth"
    run_build(
        "csv", tables / "dev.csv", f"test={tables / 'eval.csv'}", "--audio-dir", fsd50k, "--path-column", "fname",
        "--label-column", "labels", "--separator", ",", "--split-column", "split", "--out", out, "--stats-clips", 0,
    )  # fmt: skip
    assert subset_lines(out, "train") == {
        "FSD50K.dev_audio/1.wav": ["electric_guitar", "guitar"],
        "FSD50K.dev_audio/2.wav": ["guitar"],
        "FSD50K.dev_audio/3.wav": ["meow", "cat"],
    }
    assert subset_lines(out, "valid") == {"FSD50K.dev_audio/4.wav": ["cat"]}
    assert subset_lines(out, "test") == {"FSD50K.eval_audio/5.wav": ["meow", "cat"]}
    assert [label.name for label in read_vocabulary(out / "labels.csv")] == ["Cat", "Electric_guitar", "Guitar", "Meow"]


def test_urbansound8k(tmp_path):
    lines = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for fold, name in ((1, "dog_bark"), (10, "siren"), (2, "dog_bark")):
        lines.append(f"100{fold}-5-0-0.wav,100{fold},0.0,0.3,1,{fold},3,{name}")
        write_tone(
            tmp_path / "UrbanSound8K" / "audio" / f"fold{fold}" / f"100{fold}-5-0-0.wav", 0.1, 8000, hz=200 + fold
        )
    table = tmp_path / "UrbanSound8K" / "metadata" / "UrbanSound8K.csv"
    table.parent.mkdir()
    table.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n")
    out = tmp_path / "data"
    done = run_build(
        "csv", table, "--audio-dir", tmp_path / "UrbanSound8K" / "audio", "--path-column", "slice_file_name",
        "--label-column", "class", "--fold-column", "fold", "--out", out, "--stats-clips", 0,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1].endswith("fold1 1, fold2 1, fold10 1 clips; rejected 0 of 3 files")
    assert subset_lines(out, "fold10") == {"fold10/10010-5-0-0.wav": ["siren"]}


ARGUMENTS = ("--path-column", "file", "--label-column", "sound", "--stats-clips", 0)


def test_without_a_column_of_subsets_every_class_has_clips_held_out(tmp_path):
    lines = ["file\tsound"]
    for n in range(20):
        lines.append(f"{n}.mp3\t{('dog', 'cat')[n % 2]}")  # since converted to wav
        write_tone(tmp_path / "audio" / f"{n}.wav", 0.1, 8000, hz=200 + n)
    (tmp_path / "own.tsv").write_text("\n".join(lines))
    out = tmp_path / "data"
    run_build("csv", tmp_path / "own.tsv", "--audio-dir", tmp_path / "audio", "--out", out, *ARGUMENTS)
    assert sorted(label for labels in read_subset(out, "valid")[1] for label in labels) == ["cat", "dog"]
    assert len(read_subset(out, "train")[1]) == 18


def test_rows_without_a_file_are_named_counted_and_rejected(tmp_path):
    for name in ("a", "b", "other"):
        write_tone(tmp_path / "audio" / f"{name}.wav", 0.1, 8000, hz=200 + len(name))
    table = tmp_path / "own.csv"
    table.write_text("file,sound,split\na,dog,train\nb,dog,valid\n\nsub/a,dog,train\nnone.wav,dog,valid\n")
    args = (
        "csv",
        table,
        "--audio-dir",
        tmp_path / "audio",
        *ARGUMENTS,
        "--split-column",
        "split",
        "--out",
        tmp_path / "d",
    )
    done = run_build(*args, code=2)
    assert (
        f"note: 2 of 4 rows have no file below {tmp_path / 'audio'}, {table}, line 5, column 'file': 'sub/a' first"
        in (done.stdout)
    )
    assert "note: 1 files below" in done.stdout and "rejected 2 of 4 files" in done.stdout
    assert "none.wav\tunreadable" in (tmp_path / "d" / "valid.rejected.tsv").read_text()
    table.write_text("file,sound,split\nc,dog,train\n")
    assert "found none in 1 rows" in run_build(*args, code=2).stderr


@pytest.mark.parametrize(
    "text, message",
    [
        ("file,label\n", "line 1: expected one column 'sound', found the columns ['file', 'label']"),
        ("file,sound,split,split\n", "line 1: expected one column 'split', found the columns"),
        ("file,sound,split\na,dog\n", "line 2: expected 3 cells, as in the header, found ['a', 'dog']"),
        ("file,sound,split\na, ,train\n", "line 2, column 'sound': expected a class, found ''"),
        ("file,sound,split\na,dog;;cat,train\n", "line 2, column 'sound': expected a class, found 'dog;;cat'"),
        ("file,sound,split\na,dog,dev\n", "line 2, column 'split': expected one of train, training, valid,"),
        (
            "file,sound,split\na,dog,train\n\na.wav,cat,train\n",
            "line 4, column 'file': expected every file once, found 'a.wav' again after {table}, line 2",
        ),
        (
            "file,sound,split\ntwice,dog,train\n",
            "expected the name of one file, found 'twice' of ['x/twice.wav', 'y/twice",
        ),
        ('file,sound,split\n"a,dog,train\n', "own.csv: expected CSV, found: unexpected end of data; correct the table"),
        ("file,sound,split\n\xff", "expected UTF-8"),
        ("", "line 1: expected one column 'file', found the columns []"),
    ],
)
def test_bad_tables_are_refused_by_line_and_column(tmp_path, text, message):
    for name in ("a", "x/twice", "y/twice"):
        write_tone(tmp_path / "audio" / f"{name}.wav", 0.1, 8000)
    table = tmp_path / "own.csv"
    table.write_bytes(text.encode("latin-1"))
    done = run_build(
        "csv", table, "--audio-dir", tmp_path / "audio", *ARGUMENTS, "--split-column", "split", "--separator", ";",
        "--out", tmp_path / "data", code=2,
    )  # fmt: skip
    assert message.format(table=table) in done.stderr and not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "fold, message",
    [("0", "expected the number of a fold, found '0'"), ("train", "the number of a fold, found 'train'")],
)
def test_folds_that_are_no_numbers_are_refused(tmp_path, fold, message):
    write_tone(tmp_path / "audio" / "a.wav", 0.1, 8000)
    table = tmp_path / "own.csv"
    table.write_text(f"file,sound,fold\na,dog,{fold}\n")
    args = ("csv", table, "--audio-dir", tmp_path / "audio", *ARGUMENTS, "--out", tmp_path / "data")
    assert f"{table}, line 2, column 'fold': " in run_build(*args, "--fold-column", "fold", code=2).stderr
    assert message in run_build(*args, "--fold-column", "fold", code=2).stderr
    done = run_build(*args[:1], f"part={table}", *args[2:], code=2)
    assert "expected one of train, training" in done.stderr and "before the `=`, found 'part'" in done.stderr
    assert (
        "expected a file none.csv, found none; name a table" in run_build("csv", "none.csv", *args[2:], code=2).stderr
    )


@pytest.mark.parametrize(
    "cell, found",
    [
        ("take.au", "take.au.wav"), ("take.wav", "take.wav"), ("take", "take.wav"), ("take.flac", "take.wav"),
        ("a/show.mp3", "a/show.mp3.wav"), ("show.mp3", "a/show.mp3.wav"), ("take.wav.wav", "take.wav.wav"),
    ],
)  # fmt: skip
def test_a_stem_that_ends_as_audio_does_is_not_taken_for_another_file(cell, found):
    assert Files(["take.au.wav", "take.wav", "take.wav.wav", "b.wav", "a/show.mp3.wav"]).find(cell) == [found]
