"""maskspec-build resample."""

import os

import numpy as np
import pytest
import soundfile
import soxr

from maskspec_fairseq.corpora.tools import resample
from tests.factories import run_build, write_tone


@pytest.fixture()
def corpus(tmp_path):
    write_tone(tmp_path / "corpus" / "001 - Dog bark" / "1.ogg", 0.3, 44100, 300)
    write_tone(tmp_path / "corpus" / "001 - Dog bark" / "2.FLAC", 0.2, 8000, 400, channels=2)
    write_tone(tmp_path / "corpus" / "3.wav", 0.1, 32000, 500)
    (tmp_path / "corpus" / "list.csv").write_text("a list")
    return tmp_path / "corpus"


def contents(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("rate", [32000, 16000])
def test_every_file_becomes_a_wav_at_the_rate(corpus, tmp_path, rate):
    out = tmp_path / "out"
    done = run_build("resample", corpus, out, "--sample-rate", rate)
    assert done.stdout == f"{out}: 3 files at {rate} Hz written, 0 there already, 0 left out\n"
    names = {"001 - Dog bark/1.ogg": "001 - Dog bark/1.wav", "001 - Dog bark/2.FLAC": "001 - Dog bark/2.wav"}
    names["3.wav"] = "3.wav"
    assert sorted(contents(out)) == sorted(names.values())
    for source, wav in names.items():
        info = soundfile.info(out / wav)
        assert (info.samplerate, info.subtype, info.format) == (rate, "PCM_16", "WAV")
        audio, from_rate = soundfile.read(corpus / source, dtype="float32", always_2d=True)
        found, _ = soundfile.read(out / wav, dtype="float32", always_2d=True)
        expected = np.clip(soxr.resample(audio, from_rate, rate), -1, 1)
        np.testing.assert_allclose(found, expected, atol=1.01 / 32768)


def test_the_same_command_resumes(corpus, tmp_path, monkeypatch):
    """The second file is interrupted while it is written."""
    out, write = tmp_path / "out", soundfile.write

    def interrupted(path, *args, **kwargs):
        write(path, *args, **kwargs)
        if str(path).endswith("2.wav"):
            os.truncate(path, 100)
            raise KeyboardInterrupt

    monkeypatch.setattr(resample.soundfile, "write", interrupted)
    run_build("resample", corpus, out, code=130)
    assert sorted(contents(out)) == ["001 - Dog bark/1.wav"]
    monkeypatch.undo()
    before = (out / "001 - Dog bark" / "1.wav").stat().st_mtime_ns
    assert "2 files at 32000 Hz written, 1 there already" in run_build("resample", corpus, out).stdout
    assert (out / "001 - Dog bark" / "1.wav").stat().st_mtime_ns == before
    run_build("resample", corpus, tmp_path / "at_once")
    assert contents(tmp_path / "at_once") == contents(out)


def test_a_file_that_does_not_decode_is_named_and_the_others_are_written(corpus, tmp_path):
    (corpus / "0.wav").write_text("not audio")
    done = run_build("resample", corpus, tmp_path / "out", code=2)
    assert f"maskspec-build: left out: {corpus}/0.wav: expected audio that soundfile decodes" in done.stderr
    assert "3 files at 32000 Hz written, 0 there already, 1 left out" in done.stdout
    assert len(contents(tmp_path / "out")) == 3


def test_what_would_overwrite_or_mix_is_refused(corpus, tmp_path):
    for out in (corpus, corpus / "below" / "it"):
        assert f"expected OUT outside of CORPUS, found {out}" in run_build("resample", corpus, out, code=2).stderr
    run_build("resample", corpus, tmp_path / "out", "--sample-rate", 8000)
    errors = run_build("resample", corpus, tmp_path / "out", code=2).stderr
    assert "1.wav: expected a file at 32000 Hz, as an earlier run of this command wrote it, found 8000 Hz" in errors
    write_tone(corpus / "3.flac", 0.1)
    errors = run_build("resample", corpus, tmp_path / "other", code=2).stderr
    assert "expected names that differ without their extensions, found '3.flac' and '3.wav'; rename" in errors
    assert not (tmp_path / "other").exists()


def test_a_damaged_result_is_named_and_the_others_are_written(corpus, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "3.wav").write_bytes(b"RIFF")
    done = run_build("resample", corpus, tmp_path / "out", code=2)
    assert f"left out: {tmp_path}/out/3.wav: expected audio that soundfile decodes" in done.stderr
    assert done.stdout.endswith("2 files at 32000 Hz written, 0 there already, 1 left out\n")


def test_samples_far_beyond_full_scale_are_cut_off_with_a_note(tmp_path):
    (tmp_path / "corpus").mkdir()
    for name, peak in (("loud", 3.0), ("above", 1.2)):
        soundfile.write(tmp_path / "corpus" / f"{name}.wav", np.float32([0.1, peak, 0.1] * 100), 16000, subtype="FLOAT")
    done = run_build("resample", tmp_path / "corpus", tmp_path / "out", "--sample-rate", 16000)
    assert f"note: {tmp_path}/corpus/loud.wav has samples up to 3 times full scale; 16 bits hold 1" in done.stdout
    assert "above.wav" not in done.stdout
    assert np.abs(soundfile.read(tmp_path / "out" / "loud.wav")[0]).max() <= 1
