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


def test_the_real_corpus_has_its_official_counts(real_audio, tmp_path):
    done = run_build("fsdd", real_audio / "fsdd", "--out", tmp_path / "fsdd", "--stats-clips", 0)
    assert "note" not in done.stdout and "train 2700, test 300 clips; rejected 0" in done.stdout
