"""maskspec-tag against a model that is run by hand."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from maskspec_fairseq.cli import tag
from maskspec_fairseq.data_dir.labels import Label
from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.inference.embed_files import SpanEncoder
from maskspec_fairseq.inference.file_batches import encode_file
from tests.factories import REPOSITORY, TAG_LABELS, forward_file, save_exported, tagging_model, write_tone


@pytest.fixture()
def checkpoint(tmp_path):
    return save_exported(tagging_model(), tmp_path / "model")


def run(capsys, *arguments, code=0):
    assert tag.main([str(argument) for argument in arguments]) == code
    return capsys.readouterr()


def lines(capsys, *arguments, code=0):
    return [json.loads(line) for line in run(capsys, *arguments, "--format", "jsonl", code=code).out.splitlines()]


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize(
    "seconds, rate, batch_size", [(0.2, 32000, 16), (0.5, 32000, 1), (2.9, 44100, 4), (6.0, 8000, 3)]
)
def test_a_whole_file_has_the_scores_of_its_waveform(tmp_path, capsys, multilabel, seconds, rate, batch_size):
    model = tagging_model(multilabel=multilabel)
    path = write_tone(tmp_path / "a b.wav", seconds, rate, channels=2)
    (result,) = lines(capsys, path, "--checkpoint", save_exported(model, tmp_path / "m"), "--batch-size", batch_size)
    logits = forward_file(model, path).logits[0]
    scores = logits.sigmoid() if multilabel else logits.softmax(0)
    order = scores.argsort(descending=True).tolist()
    assert result["file"] == str(path) and result["start_sec"] == 0
    assert result["end_sec"] == pytest.approx(seconds, abs=1e-4)
    assert [entry["key"] for entry in result["tags"]] == [TAG_LABELS[n].key for n in order]
    assert [entry["name"] for entry in result["tags"]] == [TAG_LABELS[n].name for n in order]
    assert [entry["score"] for entry in result["tags"]] == pytest.approx(scores[order].tolist(), abs=1e-5)


def test_the_channel_is_the_one_that_the_model_was_trained_on(tmp_path, capsys):
    path = write_tone(tmp_path / "a.wav", 1.0, channels=2)
    audio, rate = soundfile.read(path, dtype="float32")
    for channel, number in (("left", 0), ("right", 1)):
        model = tagging_model(channel=channel)
        (result,) = lines(capsys, path, "--checkpoint", save_exported(model, tmp_path / channel), "--top-k", 1)
        with torch.no_grad():
            logits = model(torch.from_numpy(audio[:, number].copy())[None], rate).logits
        assert result["tags"][0]["score"] == pytest.approx(logits.softmax(-1).max().item(), abs=1e-5)


@pytest.mark.parametrize("window, hop", [(0.5, None), (0.5, 0.2), (0.25, 0.25), (1.2, 0.7)], ids=str)
def test_windows_have_their_times_and_the_scores_of_their_samples(tmp_path, capsys, checkpoint, window, hop):
    """Of the model's length, shorter, and longer; what is left at the end is a shorter one."""
    path = write_tone(tmp_path / "a.wav", 2.9, 32000)
    arguments = [path, "--checkpoint", checkpoint, "--window", window, *(["--hop", hop] if hop else [])]
    results = lines(capsys, *arguments)
    model, hop = tagging_model(), hop or window
    expected = [hop * n for n in range(100) if n == 0 or hop * (n - 1) + window < 2.9]
    assert [result["start_sec"] for result in results] == pytest.approx(expected)
    assert [result["end_sec"] for result in results] == pytest.approx([min(2.9, start + window) for start in expected])
    for result in results:
        start, end = (round(32000 * result[key]) for key in ("start_sec", "end_sec"))
        scores = forward_file(model, path, start, end).logits[0].softmax(0).sort(descending=True).values.tolist()
        assert [entry["score"] for entry in result["tags"]] == pytest.approx(scores, abs=1e-5)
    assert lines(capsys, *arguments, "--batch-size", 1) == [
        {**result, "tags": [{**entry, "score": pytest.approx(entry["score"], abs=1e-5)} for entry in result["tags"]]}
        for result in results
    ]


def test_the_windows_of_a_batch_are_as_many_as_are_asked_for(tmp_path, monkeypatch):
    """Longer windows than the model's count as several."""
    model = tagging_model()
    path = str(write_tone(tmp_path / "a.wav", 5.0))
    sizes = []
    encode = model.network.embed
    monkeypatch.setattr(model.network, "embed", lambda batch, **how: sizes.append(len(batch)) or encode(batch, **how))
    assert len(encode_file(SpanEncoder(model, 16000, 16000), path, batch_size=4)) == 10 and sizes == [4, 4, 2]
    del sizes[:]
    assert len(encode_file(SpanEncoder(model, 32000, 32000), path, batch_size=4)) == 5 and sizes == [4, 4, 2]


def test_the_table_is_for_people(tmp_path, capsys, checkpoint):
    path = write_tone(tmp_path / "a.wav", 1.0)
    out = run(capsys, path, "--checkpoint", checkpoint, "--window", 0.5, "--top-k", 2).out.splitlines()
    assert [out[0], out[3]] == [f"{path}  0.00 to 0.50 s", f"{path}  0.50 to 1.00 s"] and len(out) == 6
    shown = "\n".join(run(capsys, path, "--checkpoint", checkpoint).out.splitlines()[1:])
    assert "  Dog, bark  (/m/dog)" in shown and "  rain" in shown and "(rain)" not in shown


def test_a_broken_file_is_listed_and_the_others_are_tagged(tmp_path, capsys, checkpoint):
    good = [write_tone(tmp_path / name, 1.0) for name in ("a.wav", "z.wav")]
    late = tmp_path / "late.wav"  # its first windows are sound
    samples = np.full(100000, 0.1, dtype=np.float32)
    samples[-1] = np.nan
    soundfile.write(late, samples, 32000, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("no audio")
    files = [good[0], tmp_path / "none.wav", late, tmp_path / "text.wav", good[1]]
    output = run(capsys, *files, "--checkpoint", checkpoint, "--window", 0.5, "--format", "jsonl", code=2)
    assert {json.loads(line)["file"] for line in output.out.splitlines()} == set(map(str, good))
    reasons = output.err.splitlines()
    assert reasons[0] == "maskspec-tag: 3 of 5 files could not be tagged:" and len(reasons) == 4
    for line, name, reason in zip(reasons[1:], files[1:4], ("No such file", "found NaN", "that soundfile decodes")):
        assert line.startswith(f"  {name}: expected") and reason in line


def test_what_cannot_tag_is_refused_before_a_file_is_read(tmp_path, capsys, monkeypatch, checkpoint):
    monkeypatch.setattr(tag, "tag_files", lambda *_: pytest.fail("a file was read"))
    path = write_tone(tmp_path / "a.wav", 1.0)
    broken = save_exported(tagging_model(), tmp_path / "broken")
    weights = tmp_path / "broken" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    for arguments, message in [
        (
            ["--checkpoint", save_exported(tagging_model(labels=()), tmp_path / "bare")],
            "or use maskspec-embed, which needs none",
        ),
        (
            ["--checkpoint", tmp_path / "none.pt"],
            "none.pt: expected a checkpoint of a maskspec run, found no such file",
        ),
        (["--checkpoint", path], "a.wav: expected a checkpoint of a maskspec run, found:"),
        (["--checkpoint", broken], "model.safetensors: expected safetensors, found:"),
        (["--checkpoint", checkpoint, "--hop", 1], "expected --hop with --window, found --hop 1 alone"),
        (["--checkpoint", checkpoint, "--window", 1, "--hop", 2], "expected --hop up to the 1 s of --window, found 2"),
        (
            ["--checkpoint", checkpoint, "--window", 0.1],
            "of at least 0.16 s, a column of the model's patches, found 0.1 and",
        ),
        (
            ["--checkpoint", checkpoint, "--window", 1, "--hop", 1e-9],
            "expected --hop of at least one sample at 32000 Hz",
        ),
    ]:
        output = run(capsys, path, *arguments, code=2)
        assert message in output.err and output.err.startswith("maskspec-tag: ") and not output.out
    for arguments, message in [
        (["--window", "0"], "expected seconds above 0, found 0"),
        (["--top-k", "0"], "expected a whole number of at least 1, found 0"),
        (["--device", "cuda:77"], "expected a device of this machine, found none for cuda:77"),
        (["--device", "gpu"], "expected a device of this machine, found none for gpu"),
    ]:
        with pytest.raises(SystemExit) as exit:
            tag.main([str(path), "--checkpoint", checkpoint, *arguments])
        assert exit.value.code == 2 and message in capsys.readouterr().err


def test_help_has_units_defaults_and_an_example(capsys):
    with pytest.raises(SystemExit):
        tag.main(["--help"])
    text = capsys.readouterr().out
    assert "maskspec-tag dog.wav rain.mp3 --checkpoint" in text and "(default: 8)" in text and "  s, tag" in text


PEAKS = """
import sys
from maskspec_fairseq.cli import tag
from tests.memory import kib

short, long, *arguments = sys.argv[1:]
assert tag.main([short, *arguments]) == 0
before = kib("self", "VmHWM")
assert tag.main([long, *arguments]) == 0
print((kib("self", "VmHWM") - before) // 1024, file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [[], ["--window", "2"]], ids=["whole", "windows"])
def test_a_long_file_takes_the_memory_of_a_short_one(tmp_path, checkpoint, arguments):
    """20 min are 154 MB as float32 at the model's rate."""
    rng = np.random.default_rng(0)
    for minutes in (1, 20):
        noise = rng.integers(-3000, 3000, 8000 * 60 * minutes).astype(np.int16)
        soundfile.write(tmp_path / f"{minutes}.wav", noise, 8000)
    done = subprocess.run(
        [sys.executable, "-c", PEAKS, tmp_path / "1.wav", tmp_path / "20.wav", "--checkpoint", checkpoint, *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stderr) < 40
    assert done.stdout.count("20.wav") == (600 if arguments else 1)


def test_it_runs_as_a_module_and_continues_after_a_name_that_is_not_text(tmp_path, checkpoint):
    path = write_tone(tmp_path / "a.wav", 1.0)
    files = [os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav"), path]
    os.link(path, files[0])
    command = [sys.executable, "-m", "maskspec_fairseq.cli.tag", *files, "--checkpoint", checkpoint]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([*command, "--format", "jsonl"], env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and json.loads(done.stdout)["file"] == str(path)
    assert "1 of 2 files could not be tagged" in done.stderr and "\\udcff.wav': expected a path in UTF-8" in done.stderr


def test_of_a_folder_the_audio_files_are_tagged_in_order_and_the_others_counted(tmp_path, capsys, checkpoint):
    folder = tmp_path / "clips"
    for name in ("b/2.wav", "b/1.wav", "a.FLAC"):
        write_tone(folder / name, 0.5)
    (folder / "notes.txt").write_text("no audio")
    one = write_tone(tmp_path / "one.wav", 0.5)
    output = run(capsys, one, f"{folder}/", "--checkpoint", checkpoint, "--format", "jsonl")
    found = [json.loads(line)["file"] for line in output.out.splitlines()]
    assert found == [str(one), *(str(folder / name) for name in ("a.FLAC", "b/1.wav", "b/2.wav"))]
    assert output.err == f"{folder}/: audio files: 3; other files, left out: 1\n"
    (tmp_path / "none").mkdir()
    assert "other audio below " in run(capsys, tmp_path / "none", "--checkpoint", checkpoint, code=2).err


def test_scores_that_are_nan_are_null_in_json_and_warned_of(tmp_path, capsys, monkeypatch, checkpoint):
    path = write_tone(tmp_path / "a.wav", 0.5)
    monkeypatch.setattr(AudioModel, "scores", lambda model, logits: torch.tensor([0.5, float("nan"), 0.25]))
    output = run(capsys, path, "--checkpoint", checkpoint, "--format", "jsonl")

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    tags = json.loads(output.out, parse_constant=refuse)["tags"]
    assert {tag["name"]: tag["score"] for tag in tags} == {"Dog, bark": 0.5, "rain": None, "Säge": 0.25}
    assert output.err == f"maskspec-tag: {path}: warning: scores that are NaN; is the model damaged?\n"
    assert "nan  rain" in run(capsys, path, "--checkpoint", checkpoint).out


def test_a_name_with_a_line_break_makes_no_line_of_the_table(tmp_path, capsys):
    labels = [Label("dog", "Dog\n  0.9999  Wolf\x1b[1A"), Label("rain", "rain")]
    path = write_tone(tmp_path / "a\nb.wav", 0.5)
    out = run(capsys, path, "--checkpoint", save_exported(tagging_model(labels), tmp_path / "m")).out
    assert len(out.splitlines()) == 3 and r"Dog\n  0.9999  Wolf\x1b[1A  (dog)" in out and r"a\nb.wav  0.00" in out


def test_a_file_called_in_japanese_is_tagged_on_a_terminal_that_cannot_show_it(tmp_path, checkpoint):
    path = write_tone(tmp_path / "犬.wav", 0.5)
    command = [sys.executable, "-m", "maskspec_fairseq.cli.tag", path, "--checkpoint", checkpoint]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, env=environment, capture_output=True)
    assert done.returncode == 0 and rb"\u72ac.wav  0.00 to 0.50 s" in done.stdout and not done.stderr
