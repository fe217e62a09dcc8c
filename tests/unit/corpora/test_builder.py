"""What all corpora have in common, by the example of maskspec-build folder, and the arguments that are refused."""

import os
import shlex
import signal
import subprocess

import numpy as np
import pytest
import soundfile

from maskspec_fairseq.corpora.builder import CHUNK, in_parallel
from maskspec_fairseq.corpora.tools import stats
from maskspec_fairseq.data_dir.manifest import read_manifest
from tests.factories import (
    BUILD,
    run_build,
    run_build_program,
    write_flac_without_length,
    write_tone,
)


def test_folder_lists_every_file_once_with_its_frames(tree, tmp_path):
    out = tmp_path / "data"
    done = run_build_program("folder", tree, "--out", out, "--valid-fraction", 0.25, "--stats-clips", 0)
    train, valid = read_manifest(out / "train.tsv"), read_manifest(out / "valid.tsv")
    assert (len(train), len(valid)) == (12, 4)
    listed = dict(zip([*train.paths, *valid.paths], [*train.frames, *valid.frames]))
    assert len(listed) == 16 and list(train.paths) == sorted(train.paths)
    for path, frames in listed.items():
        assert frames == soundfile.info(tree / path).frames
    assert done.stdout.splitlines()[-1] == f"{out}: train 12, valid 4 clips; rejected 0 of 16 files"
    assert not (out / "labels.csv").exists() and (out / "train.rejected.tsv").read_text() == ""


def spoil(tree):
    (tree / "rain" / "noise.wav").write_bytes(b"RIFF but not really")
    soundfile.write(tree / "rain" / "empty.wav", np.zeros(0), 32000)
    soundfile.write(tree / "rain" / "click.wav", np.zeros(320), 32000)
    write_tone(tree / "rain" / "tab\there.wav", 0.3)
    write_tone(tree / "latin.wav", 0.3).rename(tree / os.fsdecode(b"latin\xe9.wav"))
    write_flac_without_length(tree / "stream.flac")


def test_unusable_files_are_left_out_listed_and_counted(tree, tmp_path):
    spoil(tree)
    out = tmp_path / "data"
    done = run_build("folder", tree, "--out", out, "--max-rejected", 0.5, "--stats-clips", 0)
    rejected = [line.split("\t") for name in ("train", "valid") for line in (out / f"{name}.rejected.tsv").open()]
    reasons = {path: reason.strip() for path, reason in rejected}
    assert "unreadable" in reasons.pop("rain/noise.wav")
    assert "expected a header that says how long the file is" in reasons.pop("stream.flac")
    assert reasons == {
        "rain/empty.wav": "empty: 0 frames",
        "rain/click.wav": "too short: 0.010 s",
        "rain/tab here.wav": "the path holds a tab or a line break, which a manifest cannot",
        "latin\\udce9.wav": "the path is not UTF-8",
    }
    assert len(read_manifest(out / "train.tsv")) + len(read_manifest(out / "valid.tsv")) == 16
    assert done.stdout.splitlines()[-1].endswith("rejected 6 of 22 files, listed with the reason in *.rejected.tsv")


def test_too_many_unusable_files_fail(tree, tmp_path):
    spoil(tree)
    done = run_build("folder", tree, "--out", tmp_path / "data", code=2)
    assert "more than --max-rejected 0.05 of the files cannot be used" in done.stderr
    assert "rejected 6 of 22 files" in done.stdout.splitlines()[-1]
    done = run_build("folder", tree, "--out", tmp_path / "data", "--min-sec", 10, "--max-rejected", 1, code=2)
    assert "no clip is left for train, valid" in done.stderr


@pytest.mark.parametrize(
    "args, message",
    [
        (["folder", "nowhere"], "expected a directory of audio, found none at nowhere"),
        (["folder", "nothing"], "expected .wav, .flac, .ogg, .mp3 or other audio below nothing, found none"),
        (["fsdd", "sounds"], "expected files such as `0_george_12.wav` in sounds, found 'a!.wav'"),
        (["folder", "sounds/a!", "--segment-sec", "0"], "expected at least two files below sounds/a!, one to hold out"),
        (
            ["folder", "sounds", "--segment-hop", "11"],
            "expected --segment-hop of at most --segment-sec, 10 s",
        ),
        (["folder", "sounds", "--segment-sec", "-1"], "expected seconds of 0 or above, found -1"),
        (["folder", "sounds", "--labels-from-parent"], "expected every file in the folder of its class, found a!.wav"),
        (
            ["folder", "classes", "--labels-from-parent"],
            "expected a class with two files or groups at least, one to hold out, found a single one in each",
        ),
        (
            ["folder", "sounds", "--group-by", "(speaker.)_"],
            "--group-by (speaker.)_: expected it in the paths, found none such as 'a!.wav'",
        ),
        (["merge", "--train", "a", "--valid", "b:c"], "expected DATA_DIR:SUBSET[,SUBSET], found 'a'"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, monkeypatch, args, message):
    for name in ("sounds/a!.wav", "sounds/a!/1.wav", "classes/a/1.wav", "classes/a!/1.wav"):
        write_tone(tmp_path / name, 0.1)
    (tmp_path / "nothing").mkdir()
    monkeypatch.chdir(tmp_path)
    assert message in run_build(*args, "--out", tmp_path / "data", code=2).stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "args, message",
    [
        (["folder", "--valid-fraction", "1.5"], "expected a fraction from 0 to 1, found 1.5"),
        (["folder", "--max-rejected", "-0.1"], "expected a fraction from 0 to 1, found -0.1"),
        (["folder", "--workers", "0"], "expected a whole number of at least 1, found 0"),
        (["folder", "--min-sec", "x"], "expected seconds above 0, found x"),
        (["folder", "--min-rate", "999"], "expected a whole number of at least 1000, found 999"),
        (
            ["folder", "--group-by", "(speaker"],
            "expected a regular expression, found (speaker: missing ), unterminated",
        ),
        (["folder", "--group-by", "speaker"], "expected a regular expression with a group in `()`, found speaker"),
        (["demo", "--clips-per-kind", "1"], "expected a whole number of at least 2, found 1"),
        (["stats", "--clips", "0"], "expected a whole number of at least 1, found 0"),
        (["stats", "--channel", "centre"], "invalid choice: 'centre'"),
    ],
)
def test_arguments_out_of_range_are_refused(args, message):
    assert message in run_build(*args, code=2).stderr


def test_an_earlier_builds_files_do_not_contradict_this_one(tree, tmp_path):
    out = tmp_path / "data"
    run_build("folder", tree, "--out", out, "--labels-from-parent")
    assert (out / "mel_stats.json").exists()
    run_build("folder", tree, "--out", out, "--stats-clips", 0)
    assert sorted(p.name for p in out.iterdir()) == [
        "train.rejected.tsv", "train.tsv", "valid.rejected.tsv", "valid.tsv",
    ]  # fmt: skip


# extension -> format and subtype of soundfile
FORMATS = {
    "wav": ("WAV", "PCM_16"), "WAV": ("WAV", "PCM_24"), "wave": ("WAV", "FLOAT"), "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "oga": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"), "aif": ("AIFF", "PCM_16"), "AIFF": ("AIFF", "PCM_16"),
    "aifc": ("AIFF", "ULAW"), "au": ("AU", "PCM_16"), "snd": ("AU", "PCM_16"), "caf": ("CAF", "PCM_16"),
    "sph": ("NIST", "PCM_16"), "nist": ("NIST", "PCM_16"), "voc": ("VOC", "PCM_16"), "iff": ("SVX", "PCM_16"),
    "avr": ("AVR", "PCM_16"), "paf": ("PAF", "PCM_16"), "pvf": ("PVF", "PCM_16"), "sf": ("IRCAM", "PCM_16"),
}  # fmt: skip


def test_what_soundfile_decodes_is_audio(tmp_path):
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, 4800)
    (tmp_path / "audio").mkdir()
    for extension, (container, subtype) in FORMATS.items():
        path = tmp_path / "audio" / f"{len(extension)}.{extension}"
        soundfile.write(path, samples, 48000, format=container, subtype=subtype)
    done = run_build("folder", tmp_path / "audio", "--out", tmp_path / "data", "--stats-clips", 0)
    assert f"rejected 0 of {len(FORMATS)} files" in done.stdout


def test_formats_that_soundfile_does_not_decode_are_listed_with_the_command_that_converts_them(tree, tmp_path):
    out = tmp_path / "data"
    (tree / "rain" / "it's 1.M4A").write_bytes(b"....ftypM4A ")
    (tree / "rain" / "5.webm").write_bytes(b"webm")
    done = run_build("folder", tree, "--out", out, "--stats-clips", 0, code=2)
    assert "more than --max-rejected 0.05 of the files cannot be used" in done.stderr
    assert done.stdout.splitlines()[-1].endswith(
        "rejected 2 of 18 files, listed with the reason in *.rejected.tsv; "
        "in no format of soundfile: 2, the ffmpeg commands listed there convert them"
    )
    listed = dict(line.rstrip("\n").split("\t") for line in (out / "train.rejected.tsv").open())
    command = shlex.split(listed["rain/it's 1.M4A"].partition("; ")[2])
    source = str(tree / "rain" / "it's 1")
    assert command == ["ffmpeg", "-i", f"{source}.M4A", "-vn", f"{source}.flac"]
    for name in ("it's 1", "5"):  # converted
        write_tone(tree / "rain" / f"{name}.flac", 0.3)
    done = run_build("folder", tree, "--out", out, "--stats-clips", 0)
    assert "rejected 0 of 18 files" in done.stdout


def test_one_rejected_file_is_no_failure_unless_none_is_allowed(tmp_path):
    for n in range(6):
        write_tone(tmp_path / "audio" / f"{n}.wav", 0.3, hz=300 + n)
    (tmp_path / "audio" / "6.wav").symlink_to("nowhere.wav")
    done = run_build("folder", tmp_path / "audio", "--out", tmp_path / "data")
    assert "rejected 1 of 7 files" in done.stdout and (tmp_path / "data" / "mel_stats.json").exists()
    assert "6.wav\tunreadable" in (tmp_path / "data" / "train.rejected.tsv").read_text()
    run_build("folder", tmp_path / "audio", "--out", tmp_path / "data", "--max-rejected", 0, code=2)


@pytest.mark.parametrize("rate, min_rate, reason", [
    (1, 1000, "expected a sample rate of at least 1000 Hz in its header, found 1; encode it again at its true rate"),
    (999, 1000, "found 999"),
    (8000, 16000, "too low a sample rate: 8000 Hz"),
])  # fmt: skip
def test_low_sample_rates_are_rejected(tmp_path, rate, min_rate, reason):
    for n in range(20):
        write_tone(tmp_path / "audio" / f"{n}.wav", 0.3, 16000, hz=300 + n)
    soundfile.write(tmp_path / "audio" / "low.wav", np.zeros(48000), rate)
    out = tmp_path / "data"
    run_build("folder", tmp_path / "audio", "--out", out, "--min-rate", min_rate, "--stats-clips", 0)
    rejected = [(out / f"{name}.rejected.tsv").read_text() for name in ("train", "valid")]
    assert "low.wav" in "".join(rejected) and reason in "".join(rejected)


def test_an_interrupt_before_the_statistics_says_what_is_there_and_what_is_missing(tree, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(stats, "measure", interrupt)
    out = tmp_path / "data"
    done = run_build("folder", tree, "--out", out, code=130)
    assert done.stderr.splitlines()[-1] == (
        f"maskspec-build: interrupted; the manifests in {out} are complete, the statistics are missing; "
        f"measure them by `maskspec-build stats {out} --subset train --clips 1000`"
    )
    assert "Traceback" not in done.stderr and len(read_manifest(out / "train.tsv")) == 15


SLOW_SOUNDFILE = """
import time
class SoundFileError(Exception):
    pass
class SoundFile:
    def __init__(self, path):
        time.sleep(60)
"""


def before_other_modules(directory):
    """An environment in which the modules of a directory stand in for installed ones."""
    path = os.pathsep.join([str(directory), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


def test_an_interrupt_leaves_nothing_half_written(tree, tmp_path):
    """Headers that take a minute each, so that the signal comes while they are read."""
    (tmp_path / "soundfile.py").write_text(SLOW_SOUNDFILE)
    out = tmp_path / "data"
    command = [*BUILD, "folder", tree, "--out", out]
    running = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=before_other_modules(tmp_path),
        # what a shell starts in the background ignores the signal, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert "headers" in running.stderr.read(20)  # the progress bar has begun
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 130 and "interrupted" in errors and not out.exists()


def test_an_interrupt_while_modules_are_imported_is_one_line(tmp_path):
    (tmp_path / "soundfile.py").write_text("raise KeyboardInterrupt")
    done = subprocess.run([*BUILD, "--help"], capture_output=True, text=True, env=before_other_modules(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted before the start; nothing was done\n")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_are_in_order_whether_or_not_processes_share_the_work(workers):
    for count in (0, 1, CHUNK, CHUNK + 1, 5 * CHUNK):
        assert in_parallel(abs, range(-count, 0), workers) == list(range(count, 0, -1))


def test_a_file_that_cannot_be_used_is_not_held_out(tmp_path):
    for number in range(10):
        write_tone(tmp_path / "audio" / f"{number}.wav", 0.1, 8000)
    run_build("folder", tmp_path / "audio", "--out", tmp_path / "data", "--stats-clips", 0)
    (chosen,) = read_manifest(tmp_path / "data" / "valid.tsv").paths
    (tmp_path / "audio" / chosen).write_text("no audio")
    run_build("folder", tmp_path / "audio", "--out", tmp_path / "data", "--stats-clips", 0)
    (another,) = read_manifest(tmp_path / "data" / "valid.tsv").paths
    assert another != chosen and chosen in (tmp_path / "data" / "train.rejected.tsv").read_text()
