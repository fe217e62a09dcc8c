"""maskspec-build esc10, on a miniature and on the real corpus."""

import csv
import os

from tests.factories import read_subset, run_build, write_tone


def test_esc10_folds_are_the_first_digit(tmp_path):
    audio = tmp_path / "ESC-10"
    for fold in range(1, 6):
        for number, name in enumerate(["001 - Dog bark", "002 - Rain", "006 - Person sneeze"]):
            write_tone(audio / name / f"{fold}-{1000 + number}-A.ogg", 0.3, 44100, hz=300 + number)
    out = tmp_path / "data"
    done = run_build("esc10", audio, "--out", out)
    for fold in range(1, 6):
        manifest, labels = read_subset(out, f"fold{fold}")
        assert {os.path.basename(path)[0] for path in manifest.paths} == {str(fold)}
        assert labels == [["dog_bark"], ["rain"], ["person_sneeze"]]
    assert "note: ESC-10 has 10 classes and 5 folds of 80 clips, found 3 and [3, 3, 3, 3, 3]" in done.stdout
    write_tone(audio / "stray.ogg", 0.3, 44100)
    message = f"expected files such as `001 - Dog bark/1-100032-A.ogg` in {audio}, found 'stray.ogg'"
    assert message in run_build("esc10", audio, "--out", out, code=2).stderr


def test_the_real_corpus_has_its_official_counts(real_audio, tmp_path):
    done = run_build("esc10", real_audio / "esc10", "--out", tmp_path / "esc10", "--stats-clips", 4)
    assert "note" not in done.stdout and "rejected 0 of 400" in done.stdout
    with open(tmp_path / "esc10" / "labels.csv") as stream:
        assert [row[2] for row in csv.reader(stream)][1:4] == ["Dog bark", "Rain", "Sea waves"]
    for fold in range(1, 6):
        manifest, labels = read_subset(tmp_path / "esc10", f"fold{fold}")
        assert len(manifest) == 80 and len({keys[0] for keys in labels}) == 10
        assert all(labels.count(keys) == 8 for keys in labels)
