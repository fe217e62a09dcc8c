"""maskspec-build parquet, and audioset from Parquet files, on miniatures that pyarrow writes."""

import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from maskspec_fairseq.audio.read import read_audio
from maskspec_fairseq.data_dir.labels import read_vocabulary
from tests.factories import NOISE, encoded, read_subset, run_build, write_parquet

CLIPS = [encoded(NOISE[n, : 8000 + 100 * n], ("flac", "wav", "ogg", "mp3")[n % 4]) for n in range(8)]
NAMES = ["dog", "Sea waves", "rain"]
CLASS = {"names": NAMES, "_type": "ClassLabel"}


def parquet(tmp_path, *arguments, code=0):
    return run_build("parquet", *arguments, "--out", tmp_path / "data", "--stats-clips", 0, code=code)


@pytest.mark.parametrize(
    "column, feature, expected, classes",
    [
        (["sea", "dog", "dog", "c d"], {"_type": "Value"}, [["sea"], ["dog"], ["dog"], ["c_d"]], ["c_d", "dog", "sea"]),
        ([10, 9, 9, 1], {"_type": "Value"}, [["10"], ["9"], ["9"], ["1"]], ["1", "9", "10"]),
        ([0, 1, -1, 1], CLASS, [["dog"], ["sea_waves"], [], ["sea_waves"]], ["dog", "sea_waves", "rain"]),
        ([["b", "a"], [], None, ["a"]], {"_type": "List"}, [["b", "a"], [], [], ["a"]], ["a", "b"]),
        ([[1, 0], [2], [], [2, 2]], {"_type": "Sequence", "feature": CLASS},
         [["sea_waves", "dog"], ["rain"], [], ["rain"]], ["dog", "sea_waves", "rain"]),
        ([[1], [2], [], [0]], [CLASS], [["sea_waves"], ["rain"], [], ["dog"]], ["dog", "sea_waves", "rain"]),
    ],
)  # fmt: skip
def test_rows_are_built_in_place_with_their_labels(tmp_path, column, feature, expected, classes):
    for number in range(2):
        clips = CLIPS[4 * number : 4 * number + 4]
        write_parquet(tmp_path / f"{number}.parquet", clips, {"label": feature}, label=column)
    parquet(tmp_path, f"train={tmp_path}/0.parquet", f"test={tmp_path}/1.parquet", "--labels-from", "label")
    for subset, first in (("train", 0), ("test", 4)):
        manifest, labels = read_subset(tmp_path / "data", subset)
        assert labels == expected
        for index in range(4):
            (tmp_path / "clip").write_bytes(CLIPS[first + index])
            audio, _ = read_audio(manifest.full_path(index))
            assert np.array_equal(audio, read_audio(str(tmp_path / "clip"))[0]) and len(audio) == manifest.frames[index]
    vocabulary = read_vocabulary(tmp_path / "data" / "labels.csv")
    assert [label.key for label in vocabulary] == classes
    assert feature is not CLASS or [label.name for label in vocabulary] == NAMES
    assert "no errors" in run_build("check", tmp_path / "data", "--decode").stdout


def test_without_subsets_a_part_is_held_out(tmp_path):
    for number in range(2):
        write_parquet(tmp_path / f"{number}.parquet", CLIPS[4 * number : 4 * number + 4])
    done = parquet(tmp_path, tmp_path / "*.parquet", "--valid-fraction", 0.3)
    assert "train 6, valid 2 clips; rejected 0 of 8 files" in done.stdout
    assert not (tmp_path / "data" / "labels.csv").exists()


def test_rows_without_audio_are_rejected(tmp_path):
    write_parquet(tmp_path / "a.parquet", [CLIPS[0], None, b"", b"no audio", CLIPS[1]])
    done = parquet(tmp_path, f"train={tmp_path}/a.parquet", code=2)
    assert "train 2 clips; rejected 3 of 5 files" in done.stdout
    reasons = (tmp_path / "data" / "train.rejected.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in reasons] == ["a.parquet:1", "a.parquet:2", "a.parquet:3"]
    assert "embed the files before you write" in reasons[0]


def test_columns_that_are_no_labels_are_refused(tmp_path):
    def refused(message, field="label", feature=CLASS, **columns):
        pack = tmp_path / f"{len(list(tmp_path.iterdir()))}.parquet"  # a process keeps those that it has opened
        write_parquet(pack, CLIPS[:2], {"label": feature}, **columns)
        errors = parquet(tmp_path, f"train={pack}", "--labels-from", field, code=2).stderr
        assert message in errors and errors.count("\n") == 1, errors

    refused(".parquet: expected a column other, found audio, label; name another one", "other", label=[0, 1])
    refused("row 1: expected a number of a class below 3, found 3", label=[0, 3])
    refused("row 0: expected a number of a class below 3, found 'dog'", label=["dog", "dog"])
    for values in ([0.5, 1.0], [True, False], [b"dog", b"dog"], ["", "a"], [["a", None], []]):
        refused("expected a label, which is a text or a whole number, or a list of labels", feature=None, label=values)
    write_parquet(tmp_path / "b.parquet", CLIPS[:2], {"label": {**CLASS, "names": ["a", "b"]}}, label=[0, 1])
    write_parquet(tmp_path / "c.parquet", CLIPS[:2], {"label": CLASS}, label=[0, 1])
    names = [f"train={tmp_path}/b.parquet", f"test={tmp_path}/c.parquet"]
    errors = parquet(tmp_path, *names, "--labels-from", "label", code=2).stderr
    assert "c.parquet: expected the classes of" in errors and "found others; build them apart" in errors


def test_metadata_that_are_not_of_datasets_are_refused(tmp_path):
    audio = pyarrow.array([{"bytes": CLIPS[0], "path": "a"}])
    for number, metadata in enumerate(("{", "[]", '{"info": []}', "[" * 10**5)):
        table = pyarrow.table({"audio": audio, "label": [1]}).replace_schema_metadata({"huggingface": metadata})
        pyarrow.parquet.write_table(table, tmp_path / f"{number}.parquet")
        errors = parquet(tmp_path, f"train={tmp_path}/{number}.parquet", "--labels-from", "label", code=2).stderr
        assert f"{number}.parquet: expected metadata of `datasets`, found " in errors


def test_pack_takes_the_clips_of_all_packs_of_files_out(tmp_path):
    """Zips with the bytes of the rows, whose members can be unpacked by their extensions."""
    write_parquet(tmp_path / "a.parquet", CLIPS[:4], label=["a", "b", "a", "b"])
    parquet(tmp_path, f"train={tmp_path}/a.parquet", "--labels-from", "label")
    run_build("pack", tmp_path / "data", "--out", tmp_path / "packed")
    manifest, labels = read_subset(tmp_path / "packed", "train")
    assert labels == [["a"], ["b"], ["a"], ["b"]] and "no errors" in run_build("check", tmp_path / "packed").stdout
    with zipfile.ZipFile(tmp_path / "packed" / "train.zip") as pack:
        names = [f"a.parquet/{row}.{extension}" for row, extension in enumerate(("flac", "wav", "ogg", "mp3"))]
        assert pack.namelist() == names and [pack.read(name) for name in names] == CLIPS[:4]
    assert len(read_audio(manifest.full_path(2))[0]) == 8200
    run_build("pack", tmp_path / "packed", "--out", tmp_path / "again")
    with zipfile.ZipFile(tmp_path / "again" / "train.zip") as pack:
        assert [pack.read(name) for name in pack.namelist()] == CLIPS[:4]


# AudioSet as Hugging Face has it

SPEECH, GUSH = ("/m/09x0r", "Speech"), ("/t/dd00088", "Gush")


def write_audioset(folder, name, clips):
    """clips: YouTube id -> pairs of mid and name."""
    (folder / name).mkdir(parents=True)
    write_parquet(
        folder / name / "00.parquet", [CLIPS[n % 8] for n in range(len(clips))], video_id=list(clips),
        labels=[[mid for mid, _ in pairs] for pairs in clips.values()],
        human_labels=[[text for _, text in pairs] for pairs in clips.values()],
    )  # fmt: skip


@pytest.fixture()
def audioset(tmp_path):
    write_audioset(tmp_path / "hf" / "data", "bal_train", {"--PJHxphWEs": [GUSH, SPEECH], "-0_SAy0qrh_": [SPEECH]})
    write_audioset(tmp_path / "hf" / "data", "unbal_train", {"abc_def_ghi": [GUSH], "-0_SAy0qrh_": [SPEECH]})
    write_audioset(tmp_path / "hf" / "data", "eval", {"0123_56789-": [SPEECH]})
    return tmp_path / "hf"


def build_audioset(audio, tmp_path, *arguments, code=0):
    return run_build("audioset", audio, *arguments, "--out", tmp_path / "data", "--stats-clips", 0, code=code)


@pytest.mark.parametrize("below", ["", "data"])
def test_audioset_is_taken_as_parquet_files(tmp_path, audioset, below):
    done = build_audioset(audioset / below, tmp_path)
    expected = {
        "balanced_train": [[GUSH[0], SPEECH[0]], [SPEECH[0]]], "unbalanced_train": [[GUSH[0]]], "eval": [[SPEECH[0]]],
    }  # fmt: skip
    for subset, labels in expected.items():
        manifest, found = read_subset(tmp_path / "data", subset)
        assert found == labels
        assert [len(read_audio(manifest.full_path(n))[0]) for n in range(len(labels))] == list(manifest.frames)
    vocabulary = read_vocabulary(tmp_path / "data" / "labels.csv")
    assert [(label.key, label.name) for label in vocabulary] == [SPEECH, GUSH]
    assert "balanced_train: 2 found of 22160 officially\n" in done.stdout
    assert "1 further copies of a clip left out, " in done.stdout and "unbal_train/00.parquet:1' first" in done.stdout
    assert "note: no class_labels_indices.csv, so the 2 classes are in the order of their keys" in done.stdout


def test_the_published_classes_are_used_where_they_are(tmp_path, audioset):
    csv = tmp_path / "class_labels_indices.csv"
    csv.write_text('index,mid,display_name\n0,/t/dd00088,"Gush"\n1,/m/x,"X"\n2,/m/09x0r,"Speech"\n')
    build_audioset(audioset, tmp_path, "--csv-dir", tmp_path)
    assert [label.key for label in read_vocabulary(tmp_path / "data" / "labels.csv")] == [GUSH[0], "/m/x", SPEECH[0]]
    csv.write_text('index,mid,display_name\n0,/t/dd00088,"Gush"\n')
    errors = build_audioset(audioset, tmp_path, "--csv-dir", tmp_path, code=2).stderr
    assert (
        "bal_train/00.parquet, row 0: expected labels of class_labels_indices.csv, found /t/dd00088, /m/09x0r" in errors
    )


def test_parquet_files_of_another_kind_are_refused(tmp_path):
    (tmp_path / "hf" / "eval").mkdir(parents=True)
    write_parquet(tmp_path / "hf" / "eval" / "00.parquet", CLIPS[:1], label=[1])
    assert "expected a column video_id, found audio, label" in build_audioset(tmp_path / "hf", tmp_path, code=2).stderr
    assert not (tmp_path / "data").exists()
