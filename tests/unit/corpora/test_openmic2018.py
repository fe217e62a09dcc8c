"""maskspec-build openmic2018, on a miniature."""

import json
import os

import pytest

from maskspec_fairseq.data_dir.labels import read_labels, read_vocabulary
from maskspec_fairseq.data_dir.manifest import read_manifest
from tests.factories import run_build, write_tone

LABELS = "openmic-2018-aggregated-labels.csv"
INSTRUMENTS = (
    "accordion banjo bass cello clarinet cymbals drums flute guitar mallet_percussion mandolin organ piano saxophone "
    "synthesizer trombone trumpet ukulele violin voice"
).split()
TRAIN, TEST = ["000046_3840", "000135_483840", "000139_119040"], ["000178_3840", "000308_61440"]
RELEVANCES = """sample_key,instrument,relevance,num_responses
000046_3840,flute,0.00000,3
000046_3840,clarinet,0.17105,3
000135_483840,voice,1.0,5
000135_483840,banjo,0.5,3
000135_483840,bass,0.499999,4
000178_3840,piano,0.70235,3
000308_61440,violin,0.50001,3
"""


@pytest.fixture()
def archive(tmp_path):
    root = tmp_path / "openmic-2018"
    for number, key in enumerate(TRAIN + TEST):
        write_tone(root / "audio" / key[:3] / f"{key}.ogg", 0.2, 44100, hz=300 + number, channels=2)
    (root / "audio" / "000" / "._000046_3840.ogg").write_text("a shadow file")
    (root / "class-map.json").write_text(json.dumps({name: INSTRUMENTS.index(name) for name in reversed(INSTRUMENTS)}))
    (root / "partitions").mkdir()
    (root / "partitions" / "split01_train.csv").write_text("\n".join(TRAIN) + "\n")
    (root / "partitions" / "split01_test.csv").write_text("\n".join(TEST) + "\n")
    (root / LABELS).write_text(RELEVANCES)
    return root


def run(archive, code=0):
    return run_build("openmic2018", archive, "--out", archive.parent / "data", "--stats-clips", 0, code=code)


def three_states(out, name):
    manifest, vocabulary = read_manifest(out / f"{name}.tsv"), read_vocabulary(out / "labels.csv")
    labels = read_labels(out / f"{name}.lbl", vocabulary, len(manifest))
    return {path: (clip.present, list(clip.absent)) for path, clip in zip(manifest.paths, labels)}


def test_yes_no_and_unknown_are_kept_apart(archive, tmp_path):
    done = run(archive)
    out = tmp_path / "data"
    assert three_states(out, "train") == {
        "000/000046_3840.ogg": ([], ["clarinet", "flute"]),
        "000/000135_483840.ogg": (["banjo", "voice"], ["bass"]),
        "000/000139_119040.ogg": ([], []),
    }
    assert three_states(out, "test") == {
        "000/000178_3840.ogg": (["piano"], []),
        "000/000308_61440.ogg": (["violin"], []),
    }
    assert [label.key for label in read_vocabulary(out / "labels.csv")] == INSTRUMENTS
    assert "1 of 7 judgements have a relevance of exactly 0.5 and count as present" in done.stdout
    assert "note: 1 clips in the partition have no label, '000139_119040' first" in done.stdout
    assert "note: OpenMIC-2018 has train 14915, test 5085 clips, found train 3, test 2" in done.stdout
    assert "in no list" not in done.stdout and "further copies" not in done.stdout


def test_labels_are_in_the_order_of_the_class_map_not_of_names(archive, tmp_path):
    numbers = {name: len(INSTRUMENTS) - 1 - number for number, name in enumerate(INSTRUMENTS)}
    (archive / "class-map.json").write_text(json.dumps(numbers))
    run(archive)
    assert [label.key for label in read_vocabulary(tmp_path / "data" / "labels.csv")] == INSTRUMENTS[::-1]
    assert (tmp_path / "data" / "train.lbl").read_text() == "-flute,-clarinet\nvoice,banjo,-bass\n\n"


def test_missing_copied_and_unlisted_clips_are_counted(archive):
    (archive / "audio" / "000" / "000178_3840.ogg").unlink()
    write_tone(archive / "audio" / "copy" / "000046_3840.wav", 0.2)
    write_tone(archive / "audio" / "155" / "155311_453120.ogg", 0.2)
    with open(archive / LABELS, "a") as stream:
        stream.write("155311_453120,voice,0.9,3\n")
    done = run(archive)
    assert "test: 1 found of 2 listed (5085 officially), 1 missing, '000178_3840' first" in done.stdout
    assert "note: 1 files are further copies of a clip and left out, 'copy/000046_3840.wav' first" in done.stdout
    assert "note: 1 files are in no list and left out, '155/155311_453120.ogg' first" in done.stdout
    assert "note: 1 clips with labels are in no partition, '155311_453120' first" in done.stdout


@pytest.mark.parametrize(
    "name, text, message",
    [
        (LABELS, RELEVANCES + "000178_3840,kazoo,0.9,3\n", "labels.csv, line 9: expected an"),
        (LABELS, RELEVANCES + "000178_3840,piano,0.9,3\n", "line 9: expected an instrument"),
        (LABELS, RELEVANCES + "000178_3840,voice,1.5,3\n", "line 9: expected an instrument"),
        (LABELS, RELEVANCES + "000178_3840,voice,yes,3\n", "line 9: expected an instrument"),
        (LABELS, RELEVANCES[60:], "line 1: expected the header `sample_key,instrument,"),
        ("partitions/split01_test.csv", "sample_key\n000178_3840\n", "line 1: expected a key such as 000046_3840 and"),
        ("partitions/split01_test.csv", "000178_3840\n000046_3840\n", "split01_test.csv, line 2: expected every"),
        ("class-map.json", '{"voice": 1}', "class-map.json: expected instruments with numbers that count from 0"),
        ("class-map.json", '["voice"]', "class-map.json: expected instruments with numbers that count from 0"),
    ],
)  # fmt: skip
def test_bad_files_are_refused(archive, name, text, message):
    (archive / name).write_text(text)
    assert message in run(archive, code=2).stderr


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs a file that nobody can read from its start")
def test_a_class_map_that_cannot_be_read_is_named(archive):
    (archive / "class-map.json").unlink()
    (archive / "class-map.json").symlink_to("/proc/self/mem")
    assert run(archive, code=2).stderr == (
        f"maskspec-build: {archive / 'class-map.json'}: expected a file that can be read, found: Input/output error; "
        "take the file as it was published\n"
    )


@pytest.mark.parametrize("name", ["partitions/split01_train.csv", "class-map.json", LABELS])
def test_an_archive_unpacked_in_part_is_refused(archive, name):
    (archive / name).unlink()
    assert f"{os.path.basename(name)}, found none; expected the unpacked" in run(archive, code=2).stderr
