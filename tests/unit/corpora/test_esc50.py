"""maskspec-build esc50, on a miniature and on a whole archive of tiny clips."""

import os

import pytest

from maskspec_fairseq.data_dir.labels import read_vocabulary
from tests.factories import read_subset, run_build, write_tone

HEADER = "filename,fold,target,category,esc10,src_file,take\n"
ROWS = [
    "1-100032-A-0.wav,1,0,dog,True,100032,A",
    "1-110389-A-0.wav,1,0,dog,True,110389,A",
    "1-100210-A-36.wav,1,36,vacuum_cleaner,False,100210,A",
    "2-100648-A-43.wav,2,43,car_horn,False,100648,A",
    "2-100648-B-43.wav,2,43,car_horn,False,100648,B",
    "3-100018-A-18.wav,3,18,toilet_flush,False,100018,A",
    "4-119648-A-0.wav,4,0,dog,True,119648,A",
    "5-103415-A-2.wav,5,2,pig,False,103415,A",
    "5-117118-A-41.wav,5,41,chainsaw,True,117118,A",
]


@pytest.fixture()
def archive(tmp_path):
    root = tmp_path / "ESC-50-master"
    for number, row in enumerate(ROWS):
        write_tone(root / "audio" / row.split(",")[0], 0.1, 44100, hz=300 + number)
    (root / "audio" / "._1-100032-A-0.wav").write_text("a shadow file")
    (root / "meta").mkdir()
    (root / "meta" / "esc50.csv").write_text(HEADER + "\n".join(ROWS) + "\n")
    return root


def run(archive, *args, code=0):
    return run_build("esc50", archive, "--out", archive.parent / "data", "--stats-clips", 0, *args, code=code)


def listed(out):
    return {f"fold{n}": dict(zip(m.paths, labels)) for n in range(1, 6) for m, labels in [read_subset(out, f"fold{n}")]}


def test_folds_labels_and_the_order_of_targets_are_the_tables(archive, tmp_path):
    done = run(archive)
    assert listed(tmp_path / "data") == {
        "fold1": {"1-100032-A-0.wav": ["dog"], "1-100210-A-36.wav": ["vacuum_cleaner"], "1-110389-A-0.wav": ["dog"]},
        "fold2": {"2-100648-A-43.wav": ["car_horn"], "2-100648-B-43.wav": ["car_horn"]},
        "fold3": {"3-100018-A-18.wav": ["toilet_flush"]},
        "fold4": {"4-119648-A-0.wav": ["dog"]},
        "fold5": {"5-103415-A-2.wav": ["pig"], "5-117118-A-41.wav": ["chainsaw"]},
    }
    assert [(label.key, label.name) for label in read_vocabulary(tmp_path / "data" / "labels.csv")] == [
        ("dog", "dog"), ("pig", "pig"), ("toilet_flush", "toilet flush"), ("vacuum_cleaner", "vacuum cleaner"),
        ("chainsaw", "chainsaw"), ("car_horn", "car horn"),
    ]  # fmt: skip
    assert "note: expected 50 classes" in done.stdout
    assert "note: ESC-50 has fold1 400, fold2 400, fold3 400, fold4 400, fold5 400 clips, found fold1 3" in done.stdout


def test_the_esc10_column_is_text(archive, tmp_path):
    (archive / "audio" / "2-100648-A-43.wav").unlink()  # so that no clip of fold2 and fold3 is left over to count
    done = run(archive, "--esc10-only", code=2)
    assert "no clip is left for fold2, fold3" in done.stderr and "in no list" not in done.stdout
    assert [label.key for label in read_vocabulary(tmp_path / "data" / "labels.csv")] == ["dog", "chainsaw"]
    assert (tmp_path / "data" / "fold1.lbl").read_text() == "dog\ndog\n"
    assert (tmp_path / "data" / "fold5.lbl").read_text() == "chainsaw\n"


def test_missing_and_unlisted_clips_are_counted(archive):
    (archive / "audio" / "1-110389-A-0.wav").unlink()
    write_tone(archive / "audio" / "1-1-A-1.wav", 0.1, 44100)
    done = run(archive)
    assert "fold1: 2 found of 3 listed (400 officially), 1 missing, '1-110389-A-0.wav' first" in done.stdout
    assert "note: 1 files are in no list and left out, '1-1-A-1.wav' first" in done.stdout


@pytest.mark.parametrize(
    "row, message",
    [
        ("1-100032-B-0.wav,2,0,dog,True,100032,B", "line 11: expected fold (1 to 5), src_file, take and target as in"),
        ("6-100032-B-0.wav,6,0,dog,True,100032,B", "line 11: expected fold (1 to 5), src_file"),
        ("1-100032-B-0.wav,1,0,cat,True,100032,B", "line 11: expected esc10 True or False and one category"),
        (
            "1-100032-B-0.wav,1,0,dog,1,100032,B",
            "expected esc10 True or False and one category for a target, found '1'",
        ),
        (ROWS[0], "line 11: expected every clip once in all the lists, found '1-100032-A-0.wav', which is in fold1"),
        ("1-100032-B-0.wav,1,0", "line 11: expected `filename,fold,target"),
    ],
)
def test_a_bad_row_is_named(archive, row, message):
    with open(archive / "meta" / "esc50.csv", "a") as stream:
        stream.write(row + "\n")
    assert message in run(archive, code=2).stderr


def test_a_table_without_header_or_no_table_is_refused(archive):
    (archive / "meta" / "esc50.csv").write_text("\n".join(ROWS))
    assert "esc50.csv, line 1: expected the header `filename,fold," in run(archive, code=2).stderr
    (archive / "meta" / "esc50.csv").unlink()
    assert "esc50.csv, found none; expected the unpacked ESC-50-master" in run(archive, code=2).stderr


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs a file that nobody can read from its start")
def test_a_table_that_cannot_be_read_is_named(archive):
    table = archive / "meta" / "esc50.csv"
    table.unlink()
    table.symlink_to("/proc/self/mem")
    assert run(archive, code=2).stderr == (
        f"maskspec-build: {table}: expected a file that can be read, found: Input/output error; "
        "take the file as it was published\n"
    )


def test_a_complete_archive_has_the_official_counts(tmp_path):
    root = tmp_path / "ESC-50-master"
    tone = write_tone(tmp_path / "tone.wav", 0.06, 44100)
    (root / "audio").mkdir(parents=True)
    (root / "meta").mkdir()
    rows = []
    for number in range(2000):
        fold, target = 1 + number // 400, number % 50
        rows.append(f"{fold}-{number}-A-{target}.wav,{fold},{target},class_{target:02d},{target < 10},{number},A")
        os.link(tone, root / "audio" / rows[-1].split(",")[0])
    (root / "meta" / "esc50.csv").write_text(HEADER + "\n".join(rows) + "\n")
    for args, size in (([], 400), (["--esc10-only"], 80)):
        done = run(root, *args)
        assert "note" not in done.stdout and f"fold1 {size}, fold2 {size}, fold3 {size}" in done.stdout
    assert len(read_vocabulary(tmp_path / "data" / "labels.csv")) == 10
