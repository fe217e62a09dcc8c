"""maskspec-build fsdd, on a miniature and on the real corpus."""

from tests.factories import read_subset, run_build, write_tone


def test_fsdd_test_set_is_the_first_five_of_each(tmp_path):
    for number in (0, 4, 5, 49):
        for digit in (0, 7):
            write_tone(tmp_path / "fsdd" / "recordings" / f"{digit}_theo_{number}.wav", 0.3, 8000, hz=300 + number)
    out = tmp_path / "data"
    run_build("fsdd", tmp_path / "fsdd", "--out", out)
    test, labels = read_subset(out, "test")
    assert test.paths == ["0_theo_0.wav", "0_theo_4.wav", "7_theo_0.wav", "7_theo_4.wav"]
    assert labels == [["zero"], ["zero"], ["seven"], ["seven"]]
    assert read_subset(out, "train")[0].paths == ["0_theo_49.wav", "0_theo_5.wav", "7_theo_49.wav", "7_theo_5.wav"]


def test_a_fold_holds_one_speaker_whom_no_other_fold_has(tmp_path):
    names = [f"{digit}_{speaker}_{number}.wav" for speaker in ("theo", "ada") for digit in (0, 7) for number in (0, 9)]
    for number, name in enumerate(names):
        write_tone(tmp_path / "fsdd" / name, 0.3, 8000, hz=300 + number)
    out = tmp_path / "data"
    run_build("fsdd", tmp_path / "fsdd", "--by-speaker", "--out", out)
    folds = [read_subset(out, f"fold{fold}")[0].paths for fold in (1, 2)]
    assert folds == [sorted(name for name in names if speaker in name) for speaker in ("ada", "theo")]
    assert not (out / "fold3.tsv").exists() and not (out / "train.tsv").exists()


def test_the_real_corpus_has_its_official_counts(real_audio, tmp_path):
    done = run_build("fsdd", real_audio / "fsdd", "--out", tmp_path / "fsdd", "--stats-clips", 0)
    assert "note" not in done.stdout and "train 2700, test 300 clips; rejected 0" in done.stdout
