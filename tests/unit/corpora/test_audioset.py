"""maskspec-build audioset, on miniatures of the layouts that AudioSet is passed around in."""

import re
import shutil

import numpy as np
import pytest
import soundfile

from maskspec_fairseq.data_dir.labels import read_vocabulary
from tests.factories import read_subset, run_build, write_tone

LABELS = """index,mid,display_name
0,/m/09x0r,"Speech"
1,/m/05zppz,"Male speech, man speaking"
2,/t/dd00088,"Gush"
3,/m/012xff,"Toothbrush"
"""
COMMENTS = """# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=22160, num_segs=22160, num_unique_labels=527, num_positive_labels=52882
# YTID, start_seconds, end_seconds, positive_labels
"""
BALANCED = {
    "--PJHxphWEs": '30.000, 40.000, "/m/09x0r,/t/dd00088"',
    "-0_SAy0qrh_": '0.000, 10.000, "/m/05zppz"',
    "YxYaL1lfb_k": '30.000, 40.000, "/m/012xff"',
    "d7vfbyFl5kc": '0.000, 3.000, "/m/09x0r"',
    "emptyAbCd_1": '390.000, 400.000, "/m/012xff,/m/05zppz"',
    "_missing_12": '10.000, 20.000, "/m/09x0r"',
}
UNBALANCED = {"abc_def_ghi": '0.000, 10.000, "/m/09x0r"', "Y_________Y": '20.000, 30.000, "/m/012xff"'}
EVAL = {"0123_56789-": '30.000, 40.000, "/t/dd00088"', "zz-zz_zz-zz": '5.000, 15.000, "/m/012xff"'}
LABELS_OF = {ytid: row.split('"')[1].split(",") for rows in (BALANCED, UNBALANCED, EVAL) for ytid, row in rows.items()}


def write_csv(path, rows, comments=COMMENTS):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(comments + "".join(f"{ytid}, {row}\n" for ytid, row in rows.items()))


@pytest.fixture()
def csvs(tmp_path):
    folder = tmp_path / "csv"
    write_csv(folder / "balanced_train_segments.csv", BALANCED)
    write_csv(folder / "unbalanced_train_segments.csv", UNBALANCED)
    write_csv(folder / "eval_segments.csv", EVAL)
    (folder / "class_labels_indices.csv").write_text(LABELS)
    return folder


def run(audio, csvs, out, *args, code=0):
    return run_build("audioset", audio, "--csv-dir", csvs, "--out", out, "--stats-clips", 0, *args, code=code)


def found(out, name):
    """YouTube id -> labels, ids told from the file names by their place in the test's own table."""
    manifest, labels = read_subset(out, name)
    ids = [next(ytid for ytid in LABELS_OF if ytid in path) for path in manifest.paths]
    assert len(set(ids)) == len(ids)
    return dict(zip(ids, labels))


def test_panns_layout_with_y_in_front_and_partial_csvs(tmp_path):
    audio = tmp_path / "audios"
    for folder, rows in (
        ("balanced_train_segments", BALANCED),
        ("unbalanced_train_segments/unbalanced_train_segments_part00", UNBALANCED),
        ("eval_segments", EVAL),
    ):
        for ytid in rows:
            if ytid != "_missing_12":
                write_tone(audio / folder / f"Y{ytid}.wav", 3.0 if ytid == "d7vfbyFl5kc" else 0.2, 8000)
    metadata = tmp_path / "metadata"
    write_csv(metadata / "balanced_train_segments.csv", BALANCED)
    write_csv(metadata / "eval_segments.csv", EVAL)
    (metadata / "class_labels_indices.csv").write_text(LABELS)
    for number, ytid in enumerate(UNBALANCED):
        path = metadata / "unbalanced_partial_csvs" / f"unbalanced_train_segments_part{number:02d}.csv"
        write_csv(path, {ytid: UNBALANCED[ytid]}, "empty\nempty\nempty\n")
    out = tmp_path / "data"
    done = run(audio, metadata, out)
    for name, rows in (("balanced_train", BALANCED), ("unbalanced_train", UNBALANCED), ("eval", EVAL)):
        assert found(out, name) == {ytid: LABELS_OF[ytid] for ytid in rows if ytid != "_missing_12"}
    manifest, _ = read_subset(out, "balanced_train")
    assert manifest.frames[manifest.paths.index("balanced_train_segments/Yd7vfbyFl5kc.wav")] == 24000  # the 3 s clip
    assert [(label.key, label.name) for label in read_vocabulary(out / "labels.csv")] == [
        ("/m/09x0r", "Speech"), ("/m/05zppz", "Male speech, man speaking"), ("/t/dd00088", "Gush"),
        ("/m/012xff", "Toothbrush"),
    ]  # fmt: skip
    lines = done.stdout.splitlines()
    assert "balanced_train: 5 found of 6 listed (22160 officially), 1 missing, '_missing_12' first" in lines
    assert "unbalanced_train: 2 found of 2 listed (2041789 officially)" in lines
    assert "eval: 2 found of 2 listed (20371 officially)" in lines
    assert "note: AudioSet has balanced_train 22160, unbalanced_train 2041789, eval 20371 clips" in done.stdout
    assert "note: AudioSet has 527 classes, found 4" in done.stdout


@pytest.mark.parametrize(
    "name", ["{}_{:.3f}_{:.3f}", "{}_{:.1f}-{:.1f}", "{}_{:.0f}", "Y{}_{:.3f}_{:.3f}", "{}", "Y{}"]
)
def test_every_name_with_times(csvs, tmp_path, name):
    audio = tmp_path / "audio"
    for rows in (BALANCED, UNBALANCED, EVAL):
        for ytid, row in rows.items():
            write_tone(audio / f"{name.format(ytid, *map(float, row.split(',')[:2]))}.wav", 0.1, 8000)
    out = tmp_path / "data"
    done = run(audio, csvs, out)
    for split, rows in (("balanced_train", BALANCED), ("unbalanced_train", UNBALANCED), ("eval", EVAL)):
        assert found(out, split) == {ytid: LABELS_OF[ytid] for ytid in rows}
    assert "missing" not in done.stdout.replace("_missing_12", "") and "in no list" not in done.stdout


def test_start_in_milliseconds_and_another_segment_of_a_listed_video(csvs, tmp_path):
    audio = tmp_path / "audio"
    write_tone(audio / "--PJHxphWEs_30000.wav", 0.1, 8000)
    write_tone(audio / "d7vfbyFl5kc_10.wav", 0.1, 8000)  # the list has its first three seconds
    write_tone(audio / "0123_56789-_130.000_140.000.wav", 0.1, 8000)
    done = run(audio, csvs, tmp_path / "data")
    assert found(tmp_path / "data", "balanced_train") == {"--PJHxphWEs": LABELS_OF["--PJHxphWEs"]}
    assert "note: 2 files are in no list and left out, '0123_56789-_130.000_140.000.wav' first" in done.stdout


def test_copies_in_the_folder_of_each_label_are_one_clip(csvs, tmp_path):
    audio = tmp_path / "audio"
    first = write_tone(audio / "Male speech, man speaking" / "emptyAbCd_1_390.0-400.0.ogg", 0.2, 44100, channels=2)
    (audio / "Toothbrush").mkdir()
    shutil.copy(first, audio / "Toothbrush")
    (audio / "Toothbrush" / "._emptyAbCd_1_390.0-400.0.ogg").write_text("a shadow file")
    write_tone(audio / "deep" / "er" / "YYxYaL1lfb_k.flac", 0.2, 44100)
    soundfile.write(audio / "deep" / "-0_SAy0qrh_.flac", np.zeros((4800, 2)), 48000, subtype="PCM_24")
    write_tone(audio / "Speech" / "AAAAAAAAAAA.wav", 0.1, 8000)
    write_tone(audio / "Speech" / "notes on it.wav", 0.1, 8000)
    out = tmp_path / "data"
    done = run(audio, csvs, out)
    manifest, labels = read_subset(out, "balanced_train")
    assert dict(zip(manifest.paths, labels)) == {
        "Male speech, man speaking/emptyAbCd_1_390.0-400.0.ogg": ["/m/012xff", "/m/05zppz"],
        "deep/-0_SAy0qrh_.flac": ["/m/05zppz"],
        "deep/er/YYxYaL1lfb_k.flac": ["/m/012xff"],
    }
    assert "note: 1 files are further copies of a clip and left out, 'Toothbrush/emptyAbCd_1" in done.stdout
    assert "note: 1 files are in no list and left out, 'Speech/AAAAAAAAAAA.wav' first" in done.stdout
    assert "note: 1 files have names that no list can hold and are left out, 'Speech/notes on it.wav'" in done.stdout
    assert "note: found no clip of eval, so there is no subset eval" in done.stdout
    assert sorted(path.name for path in out.glob("*.lbl")) == ["balanced_train.lbl"]


def test_a_broken_file_is_replaced_by_its_first_usable_copy(csvs, tmp_path):
    audio, out = tmp_path / "audio", tmp_path / "data"
    for folder in ("Gush", "Speech", "Yawn"):
        write_tone(audio / folder / "--PJHxphWEs_30.wav", 0.1, 8000)
    for name in ("Speech/YxYaL1lfb_k.wav", "Toothbrush/YYxYaL1lfb_k.wav"):
        soundfile.write(write_tone(audio / name, 0.1, 8000), np.zeros(0), 8000)
    write_tone(audio / "a" / "d7vfbyFl5kc.wav", 0.1, 8000)
    (audio / "Gush" / "--PJHxphWEs_30.wav").write_bytes(b"RIFF but not really")
    done = run(audio, csvs, out, "--max-rejected", 0.4)
    assert found(out, "balanced_train") == {ytid: LABELS_OF[ytid] for ytid in ("--PJHxphWEs", "d7vfbyFl5kc")}
    assert read_subset(out, "balanced_train")[0].paths == ["Speech/--PJHxphWEs_30.wav", "a/d7vfbyFl5kc.wav"]
    assert "note: 1 files cannot be used and a copy replaces them, 'Gush/--PJHxphWEs_30.wav' first" in done.stdout
    assert (out / "balanced_train.rejected.tsv").read_text().startswith("Speech/YxYaL1lfb_k.wav\tempty: 0 frames\n")
    assert "rejected 1 of 3 files" in done.stdout


def test_a_build_without_eval_into_one_with_eval_is_refused(csvs, tmp_path):
    for ytid in (*BALANCED, *EVAL):
        write_tone(tmp_path / "audio" / f"{ytid}.wav", 0.1, 8000)
    out = tmp_path / "data"
    for _ in range(2):  # again into the same directory: all is replaced
        run(tmp_path / "audio", csvs, out)
    (csvs / "eval_segments.csv").unlink()
    done = run(tmp_path / "audio", csvs, out, code=2)
    assert f"--out {out}: expected no subsets but balanced_train, found eval, of another build" in done.stderr


def test_empty_downloads_are_rejected_and_subsets_without_csv_are_not_there(csvs, tmp_path):
    audio = tmp_path / "audio"
    write_tone(audio / "--PJHxphWEs.wav", 0.1, 8000)
    soundfile.write(audio / "d7vfbyFl5kc.wav", np.zeros(0), 32000)
    (csvs / "eval_segments.csv").unlink()
    write_tone(audio / "0123_56789-.wav", 0.1, 8000)
    done = run(audio, csvs, tmp_path / "data", "--max-rejected", 0.5)
    empty, *missing = (tmp_path / "data" / "balanced_train.rejected.tsv").read_text().splitlines()
    assert empty == "d7vfbyFl5kc.wav\tempty: 0 frames"
    listed = ["-0_SAy0qrh_", "YxYaL1lfb_k", "emptyAbCd_1", "_missing_12"]
    assert missing == [f"{ytid}\tmissing: on the corpus's list, but not there" for ytid in listed]
    assert "note: no eval_segments.csv in" in done.stdout and not (tmp_path / "data" / "eval.tsv").exists()
    assert "1 files are in no list and left out, '0123_56789-.wav' first" in done.stdout


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("eval_segments.csv", COMMENTS + 'zz-zz_zz-zz, 0.000, 1.000, "/m/09x0r,/m/none"\n',
         "eval_segments.csv, line 4: expected labels of class_labels_indices.csv, found /m/none; take both files"),
        ("eval_segments.csv", COMMENTS + 'zz-zz_zz-zz, 0.000, 1.000, ""\n', "line 4: expected labels of .* found none"),
        ("eval_segments.csv", COMMENTS + 'short, 0.000, 1.000, "/m/09x0r"\n', "line 4: expected an id of 11 char"),
        ("eval_segments.csv", COMMENTS + '--PJHxphWEs, 0.000, 1.000, "/m/09x0r"\n',
         "line 4: expected every id once in all the CSVs, found '--PJHxphWEs'"),
        ("eval_segments.csv", COMMENTS + 'zz-zz_zz-zz, now, 1.000, "/m/09x0r"\n', "line 4: expected a start in"),
        ("eval_segments.csv", COMMENTS + "zz-zz_zz-zz\n", "line 4: expected `YTID,start_seconds,end_s"),
        ("class_labels_indices.csv", '0,/m/09x0r,"Speech"\n', "line 1: expected index,mid,display_name"),
    ],
)  # fmt: skip
def test_bad_csvs_are_refused(csvs, tmp_path, name, text, message):
    write_tone(tmp_path / "audio" / "--PJHxphWEs.wav", 0.1, 8000)
    (csvs / name).write_text(text)
    assert re.search(message, run(tmp_path / "audio", csvs, tmp_path / "data", code=2).stderr)


@pytest.mark.parametrize("name, line", [("eval_segments.csv", 1004), ("class_labels_indices.csv", 6)])
def test_csvs_that_are_not_utf8_are_named_with_the_line(csvs, tmp_path, name, line):
    write_tone(tmp_path / "audio" / "--PJHxphWEs.wav", 0.1, 8000)
    rows = "".join(f'{number:011d}, 0.000, 1.000, "/m/09x0r"\n' for number in range(1000))
    (csvs / "eval_segments.csv").write_text(COMMENTS + rows)  # longer than what is decoded at once
    with open(csvs / name, "ab") as stream:
        stream.write(b'4,/m/none,"caf\xe9"\n')
    done = run(tmp_path / "audio", csvs, tmp_path / "data", code=2)
    assert re.search(rf"{name}, line {line}: expected .*UTF-8, found", done.stderr)
    assert not (tmp_path / "data").exists()


def test_missing_csvs_and_other_audio_are_refused(csvs, tmp_path):
    write_tone(tmp_path / "audio" / "AAAAAAAAAAA.wav", 0.1, 8000)
    done = run(tmp_path / "audio", csvs, tmp_path / "data", code=2)
    assert "AudioSet: expected files that its lists name, found 1 others, 'AAAAAAAAAAA.wav' first" in done.stderr
    for name in ("balanced_train", "unbalanced_train", "eval"):
        (csvs / f"{name}_segments.csv").unlink()
    assert "expected a file" in run(tmp_path / "audio", csvs, tmp_path / "data", code=2).stderr
    (csvs / "class_labels_indices.csv").unlink()
    done = run(tmp_path / "audio", csvs, tmp_path / "data", code=2)
    assert "class_labels_indices.csv, found none; get it from research.google.com" in done.stderr
