"""maskspec-build speech_commands_v2, on a miniature with clips of the published lists."""

import random

import pytest
import soundfile

from maskspec_fairseq.data_dir.labels import read_vocabulary
from tests.factories import read_subset, run_build, write_tone

# rows of the published lists, among them those nearest to 10 % of a hundred speakers, and clips of neither list
VALIDATION = ["right/3cc595de_nohash_4.wav", "right/439c84f4_nohash_1.wav", "right/a69b9b3e_nohash_0.wav"]
TEST = [
    "backward/0c540988_nohash_0.wav", "eight/893705bb_nohash_12.wav", "right/0cb74144_nohash_2.wav",
    "right/5170b77f_nohash_4.wav", "right/ffb86d3c_nohash_0.wav",
]  # fmt: skip
TRAIN = ["bed/01b4757a_nohash_0.wav", "zero/01b4757a_nohash_1.wav"]
WORDS = (
    "backward bed bird cat dog down eight five follow forward four go happy house learn left marvin nine no off on one "
    "right seven sheila six stop three tree two up visual wow yes zero"
).split()


@pytest.fixture()
def archive(tmp_path):
    root = tmp_path / "speech_commands_v0.02"
    for number, path in enumerate(VALIDATION + TEST + TRAIN):
        write_tone(root / path, 0.1 if number % 2 else 0.37, 16000, hz=300 + number)
    write_tone(root / "_background_noise_" / "pink_noise.wav", 2.0, 16000)
    (root / "_background_noise_" / "README.md").write_text("noise")
    return root


def write_lists(root, validation=VALIDATION, test=TEST):
    for name, paths in (("validation_list.txt", validation), ("testing_list.txt", test)):
        (root / name).write_text("".join(f"{path}\n" for path in random.Random(1).sample(paths, len(paths))))


def run(archive, code=0):
    return run_build("speech_commands_v2", archive, "--out", archive.parent / "data", "--stats-clips", 0, code=code)


@pytest.mark.parametrize("lists", [True, False])
def test_the_hash_splits_as_the_lists_do(archive, tmp_path, lists):
    if lists:
        write_lists(archive)
    done = run(archive)
    out = tmp_path / "data"
    for name, paths in (("train", TRAIN), ("validation", VALIDATION), ("test", TEST)):
        manifest, labels = read_subset(out, name)
        assert manifest.paths == sorted(paths)
        assert labels == [[path.split("/")[0]] for path in sorted(paths)]
        assert manifest.frames.tolist() == [soundfile.info(archive / path).frames for path in sorted(paths)]
    assert [label.key for label in read_vocabulary(out / "labels.csv")] == WORDS
    assert ("the official hash splits" in done.stdout) is not lists and "disagree" not in done.stdout
    assert (
        "note: Speech Commands v0.02 has train 84843, validation 9981, test 11005 clips, found train 2" in done.stdout
    )
    assert "rejected 0 of 10 files" in done.stdout  # short clips stay, noise is not a clip


def test_where_lists_and_hash_disagree_the_lists_win(archive, tmp_path):
    write_lists(archive, [*VALIDATION, TEST[0], "yes/439c84f4_nohash_0.wav"], [*TEST[1:], TRAIN[0]])
    done = run(archive)
    assert "note: the lists and the official hash disagree on 2 of 10 clips; the lists win" in done.stdout
    assert read_subset(tmp_path / "data", "validation")[0].paths == sorted([*VALIDATION, TEST[0]])
    assert read_subset(tmp_path / "data", "train")[0].paths == TRAIN[1:]
    assert "validation: 4 found of 5 listed (9981 officially), 1 missing, 'yes/439c84f4_nohash_0.wav'" in done.stdout


@pytest.mark.parametrize(
    "path, message",
    [
        ("up/0c540988_nohash_0.wav.wav", "35 words), found 'up/0c540988_nohash_0.wav.wav'"),
        ("_silence_/0.wav", "which is of speech_commands_test_set_v0.02.tar.gz, the test set of another task"),
        ("_unknown_/0c540988_nohash_0.wav", "found '_unknown_/0c540988_nohash_0.wav'"),
        ("cow/0c540988_nohash_0.wav", "of 35 words, found 'cow/0c540988_nohash_0.wav'"),
        ("yes/hello.wav", "of 35 words, found 'yes/hello.wav'"),
        ("stray.wav", "of 35 words, found 'stray.wav'"),
    ],
)  # fmt: skip
def test_other_archives_are_refused(archive, path, message):
    write_tone(archive / path, 0.1, 16000)
    assert message in run(archive, code=2).stderr


def test_bad_lists_are_refused(archive):
    write_lists(archive, VALIDATION, [*TEST, VALIDATION[0]])
    assert "in one of the two lists, found 'right/3cc595de_nohash_4.wav'" in run(archive, code=2).stderr
    write_lists(archive, VALIDATION, [])
    assert (
        "testing_list.txt, line 1: expected clips such as `bed/0c540988_nohash_0.wav`, found no line"
        in run(archive, code=2).stderr
    )
    write_lists(archive, ["filename", *VALIDATION])
    assert "validation_list.txt, line" in run(archive, code=2).stderr
    (archive / "validation_list.txt").unlink()
    errors = run(archive, code=2).stderr
    assert "expected both validation_list.txt and testing_list.txt in" in errors and "found testing_list.txt" in errors
