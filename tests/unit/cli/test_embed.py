"""maskspec-embed: what it writes, how it resumes, and what it refuses."""

import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import soundfile
import torch

from maskspec_fairseq.cli import embed
from maskspec_fairseq.data_dir.manifest import Manifest, write_manifest
from maskspec_fairseq.inference import embedding_job
from maskspec_fairseq.inference.audio_model import MAX_WINDOWS
from maskspec_fairseq.inference.embedding_job import RUN_FILE, SOURCES_FILE, fingerprint
from tests.factories import REPOSITORY, forward_file, save_exported, tagging_model, write_tone

NAMES = ["a.wav", "b c.wav", "deep/a.wav", "z.flac"]


@pytest.fixture()
def job(tmp_path, monkeypatch):
    """A directory with clips of 0.2 to 2.6 s at two rates, a model and a manifest; the test runs in it."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(NAMES):
        write_tone(tmp_path / "audio" / name, 0.2 + 0.8 * number, (32000, 44100)[number % 2], hz=300 + 90 * number)
    write_manifest(tmp_path / "test.tsv", Manifest(str(tmp_path / "audio"), NAMES, [1] * 4))
    save_exported(tagging_model(), tmp_path / "model")
    return tmp_path


def run(*arguments, code=0, checkpoint="model"):
    assert embed.main([*map(str, arguments), "--checkpoint", checkpoint]) == code


def files(folder="audio"):
    return [f"{folder}/{name}" for name in NAMES]


def contents(path):
    """Every file of a folder, or the one file: name -> bytes."""
    paths = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): p.read_bytes() for p in paths}


def arrays(content, name):
    """The arrays in the bytes of a file; none in those of a list."""
    if name.endswith((".json", ".jsonl", ".txt")):
        return {}
    loaded = np.load(io.BytesIO(content))
    return dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else {"": loaded}


def assert_alike(found, expected):
    """The same files, with the same numbers but for the rounding that another batch brings."""
    assert found.keys() == expected.keys()
    for name, content in found.items():
        ours, theirs = arrays(content, name), arrays(expected[name], name)
        assert ours.keys() == theirs.keys() and (ours or content == expected[name])
        for key, array in ours.items():
            if array.dtype.kind == "U":
                assert array.tolist() == theirs[key].tolist()
            else:
                np.testing.assert_allclose(array, theirs[key], atol=1e-5)


def expected(model=None):
    return np.stack([forward_file(model or tagging_model(), path).embedding[0].numpy() for path in files()])


def test_an_npy_has_a_row_a_clip_and_a_list_of_the_paths(job, capsys):
    run(*files(), "--out", "e.npy")
    rows = np.load("e.npy")
    assert rows.dtype == np.float32 and rows.shape == (4, 32)
    np.testing.assert_allclose(rows, expected(), atol=1e-5)
    assert (job / "e.paths.txt").read_text().splitlines() == files()
    output = capsys.readouterr()
    assert output.out == "embedded 4 of 4 clips: e.npy\n" and "4/4" in output.err
    assert sorted(os.listdir(job)) == ["audio", "e.npy", "e.paths.txt", "model", "test.tsv"]


def test_an_npz_has_embeddings_and_paths_of_a_manifest(job):
    run("--data", ".", "--subset", "test", "--out", "e.npz")
    with np.load("e.npz") as archive:
        assert sorted(archive) == ["embeddings", "paths"] and archive["paths"].tolist() == NAMES
        np.testing.assert_allclose(archive["embeddings"], expected(), atol=1e-5)


def test_a_folder_mirrors_the_paths(job):
    run("--data", job, "--subset", "test", "--out", "e")
    assert sorted(contents(job / "e")) == sorted([RUN_FILE, SOURCES_FILE, *(f"{name}.npy" for name in NAMES)])
    for name, row in zip(NAMES, expected()):
        np.testing.assert_allclose(np.load(f"e/{name}.npy"), row, atol=1e-5)


def test_paths_that_lead_out_of_the_folder_are_mirrored_from_the_root(job, monkeypatch):
    (job / "below").mkdir()
    monkeypatch.chdir(job / "below")
    run("../audio/a.wav", job / "audio" / "z.flac", "--out", "e", checkpoint="../model")
    below = str(job).lstrip("/")
    assert sorted(contents(job / "below" / "e")) == sorted(
        [RUN_FILE, SOURCES_FILE, f"{below}/audio/a.wav.npy", f"{below}/audio/z.flac.npy"]
    )


def test_a_pretrained_model_without_labels_embeds(job):
    model = tagging_model(labels=())
    run(*files(), "--out", "e.npy", checkpoint=save_exported(model, job / "bare"))
    np.testing.assert_allclose(np.load("e.npy"), expected(model), atol=1e-5)


def test_the_order_is_the_inputs_and_a_clip_may_come_twice(job):
    order = [3, 0, 3, 2]
    run(*(files()[n] for n in order), "--out", "e.npy")
    np.testing.assert_allclose(np.load("e.npy"), expected()[order], atol=1e-5)


@pytest.mark.parametrize("passes", [1, 4])
def test_frames_have_their_times(job, passes):
    arguments = [*files(), "--frames", "--passes", passes]
    run(*arguments, "--out", "e.npz")
    run(*arguments, "--out", "e")
    with np.load("e.npz") as archive:
        assert archive["paths"].tolist() == files()
        assert sorted(archive) == sorted(["paths", *(f"{k}_{n}" for k in ("frames", "times") for n in range(4))])
        for number, path in enumerate(files()):
            audio, rate = soundfile.read(path, dtype="float32")
            with torch.no_grad():
                frames, times = tagging_model().frame_embeddings(torch.from_numpy(audio)[None], rate, passes)
            np.testing.assert_allclose(archive[f"frames_{number}"], frames[0], atol=1e-5)
            np.testing.assert_array_equal(archive[f"times_{number}"], times)
            np.testing.assert_array_equal(np.load(f"e/{path}.npy"), archive[f"frames_{number}"])
            np.testing.assert_array_equal(np.load(f"e/{path}.times.npy"), archive[f"times_{number}"])


@pytest.mark.parametrize("ending", [".npy", ".times.npy"])
def test_a_clip_whose_frames_or_times_have_gone_is_embedded_again(job, capsys, ending):
    run(*files(), "--frames", "--out", "e")
    expected = np.load(f"e/{files()[1]}{ending}")
    os.remove(f"e/{files()[1]}{ending}")
    run(*files(), "--frames", "--out", "e")
    assert "embedded 4 of 4 clips, 3 of them before" in capsys.readouterr().out
    np.testing.assert_allclose(np.load(f"e/{files()[1]}{ending}"), expected, atol=1e-5)


FORMS = [
    ["--out", "e.npy"],
    ["--out", "e.npz"],
    ["--out", "e"],
    ["--out", "e.npz", "--frames"],
    ["--out", "e", "--frames"],
]


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_an_interrupted_job_does_what_is_left(job, monkeypatch, capsys, form):
    out = job / form[1]
    run(*files(), *form)
    whole = contents(out)
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    (job / "e.paths.txt").unlink(missing_ok=True)

    done = []
    write_embedding = embedding_job.write_embedding

    def interrupted(target, result):
        if len(done) == 2:
            raise KeyboardInterrupt
        write_embedding(target, result)
        done.append(target)

    monkeypatch.setattr(embedding_job, "write_embedding", interrupted)
    capsys.readouterr()
    run(*files(), *form, code=130)
    error = capsys.readouterr().err
    assert error.endswith(
        "\nmaskspec-embed: interrupted; 2 of 4 clips are embedded; the same command embeds the others\n"
    )
    assert not out.is_file()
    monkeypatch.setattr(
        embedding_job, "write_embedding", lambda *arguments: done.append(arguments[0]) or write_embedding(*arguments)
    )
    capsys.readouterr()
    run(*files(), *form)
    assert [target.partition("audio/")[2] for target in done] == NAMES
    assert_alike(contents(out), whole)
    assert "embedded 4 of 4 clips, 2 of them before" in capsys.readouterr().out


def test_a_kill_while_a_file_is_written_leaves_no_half_of_it(job, monkeypatch):
    run(files()[0], "--out", "whole")
    save_array = np.save

    def half(path, array):
        save_array(path, array)
        os.truncate(path, 50)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", half)
        run(files()[0], "--out", "e", code=130)
    assert not (job / "e" / "audio" / "a.wav.npy").exists()
    run(files()[0], "--out", "e")
    assert contents(job / "e") == contents(job / "whole")


def test_a_job_that_is_killed_goes_on(job):
    many = []
    for number in range(150):
        os.link("audio/z.flac", f"audio/{number}.flac")
        many.append(f"audio/{number}.flac")
    command = [sys.executable, "-m", "maskspec_fairseq.cli.embed", *many, "--checkpoint", "model", "--out", "e.npy"]
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    parts = job / "e.npy.parts" / "audio"
    deadline = time.monotonic() + 60
    while len(list(parts.glob("*.npy"))) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(parts.glob("*.npy"))) >= 3 and not (job / "e.npy").exists()
    run(*many, "--out", "e.npy")
    run(*many, "--out", "whole.npy")
    np.testing.assert_allclose(np.load("e.npy"), np.load("whole.npy"), atol=1e-5)


@pytest.mark.parametrize("form", [["--out", "e.npy"], ["--out", "e.npz", "--frames"]], ids=" ".join)
def test_a_kill_while_the_parts_are_removed_leaves_a_job_that_is_done(job, monkeypatch, capsys, form):
    remove = shutil.rmtree

    def killed(folder, **kwargs):
        if str(folder).endswith(".parts"):
            os.remove(f"{folder}/{RUN_FILE}")
            raise KeyboardInterrupt
        remove(folder, **kwargs)

    def run_killed():
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", killed)
            run(*files(), *form, code=130)

    run_killed()
    out = job / form[1]
    whole = out.read_bytes()
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(embedding_job, "encode_files", lambda *_: pytest.fail("a clip was embedded"))
        run(*files(), *form)
    assert capsys.readouterr().out == f"embedded 4 of 4 clips, 4 of them before: {form[1]}\n"
    assert out.read_bytes() == whole and not list(job.glob("e.np?.*"))

    for other in ([files()[0], *form], [*files(), *form, "--batch-size", "3"]):  # whose output it is not
        for path in (out, job / "e.paths.txt"):
            path.unlink(missing_ok=True)
        run_killed()
        run(*other, code=2)
        assert f"expected no {form[1]} yet, found one" in capsys.readouterr().err
    out.unlink()
    (job / "e.paths.txt").unlink(missing_ok=True)
    run_killed()
    out.unlink()  # the output is missed
    (job / "e.paths.txt").unlink(missing_ok=True)
    run(*files(), *form)
    assert out.read_bytes() == whole


def test_of_a_folder_the_audio_files_are_embedded(job, capsys):
    (job / "audio" / "text.txt").write_text("no audio")
    run("audio", "--out", "e.npy")
    assert (job / "e.paths.txt").read_text().splitlines() == sorted(files())
    assert "audio: audio files: 4; other files, left out: 1\n" in capsys.readouterr().err


@pytest.mark.parametrize("form", [["--out", "e"], ["--out", "e.npz", "--frames"]], ids=" ".join)
def test_audio_that_has_changed_is_embedded_again(job, monkeypatch, capsys, form):
    """By its size, or by its time alone, earlier or later; in a folder, and in the parts of an interrupted job."""
    out = job / form[1]
    if form[1] == "e.npz":  # as an interrupt while the parts are put together leaves it
        with monkeypatch.context() as patch:
            patch.setattr(embedding_job, "write_npz", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            run(*files(), *form, code=130)
    else:
        run(*files(), *form)
    shorter, earlier, later = (job / "audio" / name for name in NAMES[:3])
    write_tone(shorter, 0.1, hz=1000)
    for path, step in ((earlier, -(10**9)), (later, 10**9)):
        time_ns = path.stat().st_mtime_ns
        audio, rate = soundfile.read(path)
        soundfile.write(path, audio[::-1], rate)
        os.utime(path, ns=(time_ns + step, time_ns + step))
    capsys.readouterr()
    run(*files(), *form)
    assert "embedded 4 of 4 clips, 1 of them before" in capsys.readouterr().out
    run(*files(), "--out", f"new_{form[1]}", *form[2:])
    embeddings = [contents(path) for path in (out, job / f"new_{form[1]}")]
    for each in embeddings:
        each.pop(SOURCES_FILE, None)  # whose order is that of the work
    assert_alike(*embeddings)


def test_audio_that_has_changed_into_none_loses_its_embedding(job, capsys):
    run(*files(), "--out", "e")
    (job / "audio" / "a.wav").write_text("no audio")
    (job / "audio" / "z.flac").unlink()  # whose embedding stays: nothing says that it is another's
    run(*files(), "--out", "e", code=2)
    output = capsys.readouterr()
    assert "embedded 3 of 4 clips, 3 of them before" in output.out and "  audio/a.wav: expected audio" in output.err
    assert not (job / "e" / "audio" / "a.wav.npy").exists() and (job / "e" / "audio" / "z.flac.npy").exists()


def test_a_clip_in_a_pack_is_as_old_as_the_pack(job):
    content = (job / "audio" / "a.wav").read_bytes()
    with zipfile.ZipFile("pack.zip", "w") as pack:
        pack.writestr("a.wav", content)
    clip = f"pack.zip:{(job / 'pack.zip').read_bytes().index(content)}:{len(content)}"
    status = os.stat("pack.zip")
    assert embedding_job.source_of(clip) == (status.st_size, status.st_mtime_ns)
    assert embedding_job.source_of("none.zip:0:5") is None


def test_a_piece_has_the_embedding_of_a_loose_file_and_is_as_old_as_its_file(job, capsys):
    samples, rate = soundfile.read("audio/z.flac")
    soundfile.write("loose.flac", samples[4000:36000], rate)
    piece = "audio/z.flac:4000:32000"
    run(piece, "loose.flac", "--out", "e")
    np.testing.assert_allclose(np.load(f"e/{piece}.npy"), np.load("e/loose.flac.npy"), atol=1e-5)
    soundfile.write("audio/z.flac", samples[::-1], rate)
    os.utime("audio/z.flac", (1, 1))
    run(piece, "loose.flac", "--out", "e")
    assert not np.allclose(np.load(f"e/{piece}.npy"), np.load("e/loose.flac.npy"), atol=1e-3)


def test_what_a_kill_left_of_the_list_of_sources_does_no_harm(job, capsys):
    run(*files(), "--out", "e")
    sources = job / "e" / SOURCES_FILE
    sources.write_text(sources.read_text()[:-5])
    for before in (3, 4):
        capsys.readouterr()
        run(*files(), "--out", "e")
        assert f"embedded 4 of 4 clips, {before} of them before" in capsys.readouterr().out


def test_damaged_notes_of_a_job_are_read_over_or_named(job, capsys):
    run(*files(), "--out", "e")
    with open(job / "e" / SOURCES_FILE, "a") as stream:
        stream.write("5\n")
    run(*files(), "--out", "e")
    assert "embedded 4 of 4 clips, 4 of them before" in capsys.readouterr().out
    (job / "e" / RUN_FILE).write_text("")
    run(*files(), "--out", "e", code=2)
    error = capsys.readouterr().err
    assert f"{RUN_FILE}: expected JSON, found" in error and "remove the folder or choose another --out" in error


def test_failed_files_have_no_row_and_are_tried_again(job, capsys):
    listed = [*files()[:2], "audio/none.wav", "audio/text.wav", *files()[2:]]
    (job / "audio" / "text.wav").write_text("no audio")
    run(*listed, "--out", "e.npy", code=2)
    output = capsys.readouterr()
    assert output.out == "embedded 4 of 6 clips: e.npy\n"
    reasons = output.err[output.err.index("maskspec-embed: ") :].splitlines()
    assert reasons[0] == "maskspec-embed: 2 of 6 clips could not be embedded:" and len(reasons) == 3
    assert reasons[1].startswith("  audio/none.wav: expected audio") and reasons[2].startswith("  audio/text.wav: ")
    np.testing.assert_allclose(np.load("e.npy"), expected(), atol=1e-5)
    assert (job / "e.paths.txt").read_text().splitlines() == files()

    for name in ("none.wav", "text.wav"):
        shutil.copy(job / "audio" / "a.wav", job / "audio" / name)
    run(*listed, "--out", "e.npy")
    assert capsys.readouterr().out == "embedded 6 of 6 clips, 4 of them before: e.npy\n"
    np.testing.assert_allclose(np.load("e.npy"), expected()[[0, 1, 0, 0, 2, 3]], atol=1e-5)
    assert not (job / "e.npy.parts").exists()


def test_nothing_is_written_where_every_file_fails(job, capsys):
    run("none.wav", "--out", "e.npz", code=2)
    assert not (job / "e.npz").exists() and "embedded 0 of 1 clips: nothing written" in capsys.readouterr().out
    other = save_exported(tagging_model(seed=1), job / "other")
    run(*files(), "--out", "e.npz", checkpoint=other)  # no note of the first job keeps it away
    assert not (job / "e.npz.parts").exists()
    run("none.wav", "--out", "folder", code=2)
    assert not (job / "folder").exists()
    run(*files(), "--out", "folder")
    before = sorted(os.listdir("folder"))
    run("none.wav", "--out", "folder", code=2)
    assert sorted(os.listdir("folder")) == before


def test_a_path_that_a_list_cannot_hold_fails_alone(job, capsys):
    shutil.copy("audio/a.wav", "audio/two\nlines.wav")
    run("audio/two\nlines.wav", "audio/a.wav", "--out", "e.npy", code=2)
    assert "expected a path that a list can hold, found one that holds a line break" in capsys.readouterr().err
    assert np.load("e.npy").shape == (1, 32)


def test_what_another_command_made_is_not_mixed_in(job, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embedding_job, "write_embedding", interrupted)
        run(*files(), "--out", "e.npy", code=130)
    other = save_exported(tagging_model(seed=1), job / "other")
    for arguments, checkpoint, message in [
        ([], other, "another model"),
        (["--batch-size", "3"], "model", f"batch_size {MAX_WINDOWS}, not 3"),
        (["--precision", "bf16"], "model", "precision 'float32', not 'bf16'"),
    ]:
        run(*files(), "--out", "e.npy", *arguments, checkpoint=checkpoint, code=2)
        error = capsys.readouterr().err
        assert f"e.npy.parts: expected embeddings by this command, found those of another one ({message}" in error
    run("--data", ".", "--subset", "test", "--out", "e.npy", code=2)
    assert "root '" in capsys.readouterr().err

    run(*files(), "--out", "folder")
    capsys.readouterr()
    run(*files(), "--out", "folder", "--frames", code=2)
    assert "found those of another one (frames False, not True)" in capsys.readouterr().err
    run(*files(), "--out", "folder")
    assert "embedded 4 of 4 clips, 4 of them before" in capsys.readouterr().out


def test_models_that_compute_the_same_have_one_fingerprint():
    assert fingerprint(tagging_model()) == fingerprint(tagging_model())
    different = tagging_model()
    different.network.front_end.mel_mean[3] += 1
    prints = {fingerprint(model) for model in (tagging_model(), different, tagging_model(channel="left"))}
    assert len(prints) == 3


def test_what_makes_no_sense_is_refused_before_a_file_is_read(job, monkeypatch, capsys):
    monkeypatch.setattr(embedding_job, "encode_files", lambda *_: pytest.fail("a file was read"))
    (job / "mine").mkdir()
    (job / "mine" / "notes.txt").write_text("keep")
    (job / "mine.npy").write_text("keep")
    (job / "list.paths.txt").write_text("keep")
    (job / "file").write_text("keep")
    absolute = job / "audio" / "a.wav"
    alike = job / str(absolute).lstrip("/")
    alike.parent.mkdir(parents=True)
    shutil.copy(absolute, alike)
    for arguments, message in [
        ([*files(), "--out", "mine"], "mine: expected a new or empty folder, or one of maskspec-embed with"),
        ([*files(), "--out", "file"], "file: expected a new or empty folder"),
        ([*files(), "--out", "mine.npy"], "expected no mine.npy yet, found one; remove it or choose another --out"),
        ([*files(), "--out", "list.npy"], "expected no list.paths.txt yet, found one"),
        ([*files(), "--out", "e.npy", "--frames"], "expected --out FILE.npz or a folder for --frames, found e.npy"),
        (
            [*files(), "--out", "e", "--frames", "--passes", "3"],
            "expected a number of passes that divides the 5120 samples",
        ),
        (["--data", ".", "--subset", "fold1", "--out", "e"], "found only the subsets test there"),
        ([absolute, str(absolute).lstrip("/"), "--out", "e"], "expected clips whose files below e differ, found"),
    ]:
        run(*arguments, code=2)
        error = capsys.readouterr().err
        assert error.startswith("maskspec-embed: ") and message in error
    for checkpoint in ("none.pt", "audio/a.wav"):
        run(*files(), "--out", "e", checkpoint=checkpoint, code=2)
        assert f"{checkpoint}: expected a checkpoint of a maskspec run, found" in capsys.readouterr().err
    for arguments, message in [
        ([], "expected either files or --data, found neither"),
        ([*files(), "--data", "."], "expected either files or --data, found both"),
        (["--data", "."], "expected --data and --subset together, found one of them"),
        ([*files(), "--passes", "2"], "expected --passes with --frames only, found --passes 2"),
    ]:
        run(*arguments, "--out", "e", code=2)
        assert message in capsys.readouterr().err
    for arguments, message in [
        ([*files(), "--batch-size", "0"], "expected a whole number of at least 1, found 0"),
        ([*files(), "--device", "cuda:77"], "expected a device of this machine, found none for cuda:77"),
    ]:
        with pytest.raises(SystemExit) as exit:
            run(*arguments, "--out", "e")
        assert exit.value.code == 2 and message in capsys.readouterr().err
    assert not (job / "e").exists() and not (job / "e.npy.parts").exists()
    assert [(job / name).read_text() for name in ("mine/notes.txt", "mine.npy", "list.paths.txt", "file")] == [
        "keep"
    ] * 4


def test_help_has_units_defaults_and_an_example(capsys):
    with pytest.raises(SystemExit):
        embed.main(["--help"])
    text = capsys.readouterr().out
    assert (
        "maskspec-embed clips/*.wav --checkpoint" in text and f"(default: {MAX_WINDOWS})" in text and "160 ms" in text
    )


PEAKS = """
import sys
from maskspec_fairseq.cli import embed
from tests.memory import kib

short, long, *arguments = sys.argv[1:]
for path in (short, long):
    before = kib("self", "VmHWM")
    assert embed.main([path, *arguments, "--out", path + ".embeddings"]) == 0
print("grown by", (kib("self", "VmHWM") - before) // 1024)
"""


@pytest.mark.parametrize("arguments", [[], ["--frames", "--passes", "2"]], ids=["clips", "frames"])
def test_a_long_file_takes_the_memory_of_a_short_one(job, arguments):
    """10 min are 77 MB as float32 at the model's rate, and their frames 2 MB."""
    rng = np.random.default_rng(0)
    for minutes in (1, 10):
        soundfile.write(f"{minutes}.wav", rng.integers(-3000, 3000, 8000 * 60 * minutes).astype(np.int16), 8000)
    done = subprocess.run(
        [sys.executable, "-c", PEAKS, "1.wav", "10.wav", "--checkpoint", "model", *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout.rpartition("grown by ")[2]) < 40
    if arguments:
        frames = np.load("10.wav.embeddings/10.wav.npy", mmap_mode="r")
        assert frames.shape == (10 * 60 * 100 // 8, 32)  # one every 80 ms


def test_the_note_of_a_job_says_what_it_was(job):
    run(*files(), "--out", "e")
    note = json.loads((job / "e" / RUN_FILE).read_text())
    assert note["model_sha256"] == fingerprint(tagging_model()) and note["frames"] is False and note["passes"] == 1


def test_a_note_of_before_there_were_precisions_is_of_float32(job, capsys):
    run(*files(), "--out", "e")
    note = json.loads((job / "e" / RUN_FILE).read_text())
    assert note.pop("precision") == "float32"
    (job / "e" / RUN_FILE).write_text(json.dumps(note))
    run(*files(), "--out", "e")
    run(*files(), "--out", "e", "--precision", "bf16", code=2)
    assert "precision 'float32', not 'bf16'" in capsys.readouterr().err


def test_half_precision_is_close_to_float32(job):
    for precision in ("float32", "bf16"):
        run(*files(), "--out", f"{precision}.npy", "--precision", precision)
    full, half = np.load("float32.npy"), np.load("bf16.npy")
    cosines = (full * half).sum(axis=1) / np.linalg.norm(full, axis=1) / np.linalg.norm(half, axis=1)
    assert cosines.min() > 0.999 and not np.array_equal(full, half)


def test_a_killed_process_of_the_loader_is_a_line_and_the_job_goes_on(job, monkeypatch, capsys):
    many = [f"audio/{number}.flac" for number in range(30)]
    for path in many:
        os.link("audio/z.flac", path)
    write_embedding = embedding_job.write_embedding

    def killing(target, result):
        for process in multiprocessing.active_children():
            process.kill()
        write_embedding(target, result)

    with monkeypatch.context() as patch:
        patch.setattr(embedding_job, "write_embedding", killing)
        run(*many, "--out", "e.npy", "--workers", "1", code=2)
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("maskspec-embed: expected the processes that load audio to live, found that one was ended")
    assert not (job / "e.npy").exists()
    run(*many, "--out", "e.npy")
    np.testing.assert_allclose(np.load("e.npy"), expected()[[3] * 30], atol=1e-5)


def test_ctrl_c_is_a_line_that_says_how_much_is_done(job):
    many = [f"audio/{number}.flac" for number in range(500)]
    for path in many:
        os.link("audio/z.flac", path)
    command = [sys.executable, "-m", "maskspec_fairseq.cli.embed", *many, "--checkpoint", "model", "--out", "e"]
    process = subprocess.Popen(
        [*command, "--workers", "2"], env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        # what a shell starts in the background ignores the signal
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while not (job / "e" / "audio" / "3.flac.npy").exists() and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and not stdout and "Traceback" not in stderr
    assert stderr.splitlines()[-1].endswith("of 500 clips are embedded; the same command embeds the others")
