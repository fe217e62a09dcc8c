"""Broken files, manifests and labels: what the builder, the trainer's dataset and maskspec-evaluate do with each."""

import codecs
import functools
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

import numpy as np
import pytest
import soundfile
import torch

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import load_clip, read_audio
from maskspec_fairseq.cli import evaluate
from maskspec_fairseq.corpora.tools import check
from maskspec_fairseq.data.audio_dataset import AudioDataset
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import ClipLabels, Label, write_labels, write_vocabulary
from maskspec_fairseq.data_dir.manifest import Manifest, read_manifest, write_manifest
from tests.factories import classifier_cfg, run_build, small_classifier, write_tone
from tests.fairseq_factories import pretraining_task

RATE = 32000
CONSTANT = dict(bitrate_mode="CONSTANT", compression_level=0.5)  # of an mp3
NOISE = 0.5 * np.random.default_rng(0).uniform(-1, 1, RATE // 2)
SKIPPED = "skipped"  # the name is not that of an audio file, or there is no file
NOT_AUDIO = "Format not recognised"


@pytest.fixture(autouse=True)
def no_test_hangs():
    """A minute for each: what waits for the other end of a pipe is woken and fails."""

    def fail(*_):
        raise TimeoutError("still waiting after a minute")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# How a file is made: functions of its path


def audio(samples=NOISE, rate=RATE, **kwargs):
    return lambda path: soundfile.write(path, samples, rate, **kwargs)


def audio_as(extension, share=1.0, edit=lambda data: data, seconds=0.5, rate=RATE, **kwargs):
    """Encoded as another extension says, cut off after a share of its bytes, and edited."""

    def make(path):
        whole = path.with_name(f".{path.name}.{extension}")
        soundfile.write(whole, np.resize(NOISE, round(seconds * rate)), rate, **kwargs)
        data = edit(bytearray(whole.read_bytes()))
        path.write_bytes(data[: round(share * len(data))])
        whole.unlink()

    return make


def content(data):
    return lambda path: path.write_bytes(data)


def link(target):
    return lambda path: path.symlink_to(target)


def flac_of_length(frames):
    """The header's number of frames, 36 bits of STREAMINFO, set anew."""

    def edit(data):
        data[21] = data[21] & 0xF0 | frames >> 32
        data[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
        return data

    return audio_as("flac", edit=edit)


def without_length(data):
    """An mp3 without the frame that says how long it is; that of another one begins like every frame."""
    assert b"Xing" in data[:200] or b"Info" in data[:200]
    return data[data.index(data[:2], 4) :]


def make_unreadable(path):
    audio()(path)
    path.chmod(0)
    if os.access(path, os.R_OK):
        path.unlink()
        pytest.skip("permissions mean nothing to this user")


@dataclass
class Broken:
    """A file, why the builder leaves it out, and why it cannot be decoded; None where neither is so."""

    name: str
    make: Callable[[Path], object]
    builder: Optional[str]
    decoder: Optional[str]


FILES = [
    # Odd, and good
    Broken("eight_channels.wav", audio(np.repeat(NOISE[:, None], 8, 1)), None, None),
    Broken("192_khz.wav", audio(rate=192000), None, None),
    Broken("8_bit.wav", audio(subtype="PCM_U8"), None, None),
    Broken("24_bit.wav", audio(subtype="PCM_24"), None, None),
    Broken("64_bit.wav", audio(subtype="DOUBLE"), None, None),
    Broken("adpcm.wav", audio(subtype="IMA_ADPCM"), None, None),
    Broken("flac_inside.wav", audio_as("flac"), None, None),
    Broken("wav_inside.mp3", audio_as("wav"), None, None),
    Broken("UPPER.WAV", audio_as("wav"), None, None),
    Broken("no_length_of_its_own.mp3", audio_as("mp3", edit=without_length, rate=44100, **CONSTANT), None, None),
    Broken("variable_rate_and_no_length.mp3", audio_as("mp3", edit=without_length, rate=44100), None, None),
    Broken("link.wav", link("1.wav"), None, None),
    Broken("one_sample.wav", audio(NOISE[:1], 44100), "too short: 0.000 s", None),
    Broken("no_extension_of_audio.txt", audio_as("wav"), SKIPPED, None),
    # Cut off: used as far as it goes where the header is mended by what is there, refused where it is not
    Broken("cut.wav", audio_as("wav", 0.6), None, None),
    Broken("cut.ogg", audio_as("ogg", 0.9, seconds=3), None, None),
    Broken("cut_to_the_headers.ogg", audio_as("ogg", 0.5), "empty: 0 frames", "a file of 0 frames"),
    Broken("cut.flac", audio_as("flac", 0.6), None, "lost sync"),
    Broken("cut.mp3", audio_as("mp3", 0.6), None, "is the file cut off?"),
    Broken("cut_in_the_first_frame.mp3", audio_as("mp3", 0.02), "no frame of mp3", "no frame of mp3"),
    Broken("header_only.wav", audio_as("wav", edit=lambda data: data[:44]), "empty: 0 frames", "a file of 0 frames"),
    Broken("header_only.flac", audio_as("flac", edit=lambda data: data[:42]), None, "expected"),
    # Wrong lengths
    Broken("no_frames.wav", audio(NOISE[:0]), "empty: 0 frames", "a file of 0 frames"),
    Broken("length_not_said.flac", flac_of_length(0), "says how long the file is", "says how long the file is"),
    Broken("twice_as_long_as_it_is.flac", flac_of_length(RATE), None, "expected"),
    Broken("months_long.flac", flac_of_length(2**36 - 1), "of which the end is missing", "expected"),
    Broken("one_sample_at_192_khz.wav", audio(NOISE[:1], 192000), "too short", "found 1 at 192000 Hz"),
    # Values that are not sound
    Broken("nan.wav", audio(np.where(NOISE > 0.4, np.nan, NOISE), subtype="FLOAT"), None, "NaN or infinity"),
    Broken("infinite.wav", audio(np.where(NOISE > 0.4, np.inf, NOISE), subtype="FLOAT"), None, "NaN or infinity"),
    Broken("beyond_float32.wav", audio(1e300 * NOISE, subtype="DOUBLE"), None, "NaN or infinity"),
    Broken("a_cube_of_temperatures.wav", audio(1e30 * NOISE, subtype="FLOAT"), None, "with a full scale of 1"),
    # Not audio
    Broken("empty.wav", content(b""), "a file of 0 bytes", "a file of 0 bytes"),
    Broken("empty.mp3", content(b""), "a file of 0 bytes", "a file of 0 bytes"),
    Broken("text.wav", content(b"a text\n" * 100), NOT_AUDIO, NOT_AUDIO),
    Broken("text.mp3", content(b"a text\n" * 100), "no frame of mp3", "no frame of mp3"),
    Broken("half_a_word.wav", content(b"RIF"), NOT_AUDIO, NOT_AUDIO),
    Broken("no_channels.wav", audio_as("wav", edit=lambda d: d[:22] + b"\0\0" + d[24:]), "Channel", "Channel"),
    Broken("no_rate.wav", audio_as("wav", edit=lambda d: d[:24] + b"\0\0\0\0" + d[28:]), "unreadable", "decodes"),
    Broken("samples_alone.raw", content(NOISE.astype("<f4").tobytes()), SKIPPED, "samplerate must be specified"),
    # No file
    Broken("directory.wav", lambda path: path.mkdir(), SKIPPED, "found: a directory"),
    Broken("dangling.wav", link("nowhere"), "No such file or directory", "No such file or directory"),
    Broken("dangling", link("/nowhere/folder"), "No such file or directory", "No such file or directory"),
    Broken("circle.wav", link("circle.wav"), "symbolic links", "symbolic links"),
    Broken("pipe.wav", os.mkfifo, "a pipe or a device", "a pipe or a device"),
    Broken("device.wav", link("/dev/zero"), "a pipe or a device", "a pipe or a device"),
    Broken("vanished.wav", lambda path: None, SKIPPED, "No such file or directory"),
    Broken("not_allowed.wav", make_unreadable, "without permission", "without permission"),
]  # fmt: skip
each_file = pytest.mark.parametrize("broken", FILES, ids=lambda broken: broken.name)


@pytest.fixture()
def folder(tmp_path):
    """A directory with a good file."""
    write_tone(tmp_path / "audio" / "1.wav", 0.5)
    return tmp_path / "audio"


def test_the_builder_lists_or_rejects_every_file_with_its_reason(folder, tmp_path):
    made = {}
    for broken in FILES:
        try:
            broken.make(folder / broken.name)
        except pytest.skip.Exception:
            continue
        made[broken.name] = broken.builder
    (folder / "directory.wav" / "walked_into.wav").symlink_to("../1.wav")
    made.update({"1.wav": None, "directory.wav/walked_into.wav": None})
    done = run_build("folder", folder, "--out", tmp_path, "--max-rejected", 1, "--stats-clips", 0)
    listed, rejected = [], {}
    for subset in ("train", "valid"):
        listed += read_manifest(tmp_path / f"{subset}.tsv").paths
        lines = (tmp_path / f"{subset}.rejected.tsv").read_text().splitlines()
        rejected.update(line.split("\t") for line in lines)
    reasons = {name: reason for name, reason in made.items() if reason not in (None, SKIPPED)}
    assert sorted(listed) == sorted(name for name, reason in made.items() if reason is None)
    assert sorted(rejected) == sorted(reasons)
    assert not {name: found for name, found in rejected.items() if reasons[name] not in found}
    assert f"rejected {len(rejected)} of {len(rejected) + len(listed)} files" in done.stdout


def test_the_builder_measures_what_can_be_decoded_and_names_the_rest(folder, tmp_path):
    chosen = [broken for broken in FILES if broken.name in ("cut.flac", "nan.wav", "pipe.wav", "cut.wav")]
    for broken in chosen:
        broken.make(folder / broken.name)
    write_manifest(tmp_path / "train.tsv", Manifest(str(folder), [broken.name for broken in chosen], [RATE] * 4))
    done = run_build("stats", tmp_path, code=2)
    assert "1 clips of train, 3 left out" in done.stdout
    for broken in chosen:
        message = f"left out of the statistics: {folder / broken.name}: expected"
        assert (message in done.stderr) == (broken.decoder is not None)


@each_file
def test_the_trainer_uses_a_file_or_names_it(folder, broken):
    broken.make(folder / broken.name)
    dataset = AudioDataset(Manifest(str(folder), ["1.wav", broken.name], [1, 1]), RATE, 1.0, training=True)
    assert dataset[0]["num_samples"] == RATE // 2
    if broken.decoder is None:
        item = dataset[1]
        assert 0 < item["num_samples"] <= RATE and item["waveform"][: item["num_samples"]].abs().max() > 0
    else:
        with pytest.raises(AudioError) as caught:
            dataset[1]
        assert f"{folder / broken.name}: expected" in str(caught.value) and broken.decoder in str(caught.value)


@functools.cache
def checkpoint(folder):
    model = small_classifier(num_classes=2)
    task = {"clip_sec": 0.5, "sample_rate": RATE, "channel": "mix", "target_is_multilabel": False}
    torch.save({"cfg": {"model": classifier_cfg("ab"), "task": task}, "model": model.state_dict()}, folder / "model.pt")
    return str(folder / "model.pt")


@pytest.fixture()
def score(tmp_path, tmp_path_factory, capsys):
    """maskspec-evaluate on the subset `test`, which is written before where its manifest is given."""

    def run(workers="0", **manifest):
        if not (tmp_path / "labels.csv").exists():
            write_vocabulary(tmp_path / "labels.csv", [Label("a", "A"), Label("b", "B")])
        if manifest:
            write_manifest(tmp_path / "test.tsv", Manifest(**manifest, frames=[1] * len(manifest["paths"])))
            write_labels(tmp_path / "test.lbl", [ClipLabels(["ab"[n % 2]]) for n in range(len(manifest["paths"]))])
        path = checkpoint(tmp_path_factory.getbasetemp())
        code = evaluate.main(["--checkpoint", path, "--data", str(tmp_path), "--subset", "test", "--workers", workers])
        printed = capsys.readouterr()
        return code, printed.out, [line for line in printed.err.splitlines() if line and "model.pt: " not in line]

    return run


@each_file
def test_evaluation_scores_a_file_or_names_it(folder, score, broken):
    broken.make(folder / broken.name)
    code, out, errors = score(root=str(folder), paths=["1.wav", broken.name])
    if broken.decoder is None:
        assert code == 0 and "test: scored 2 of 2 clips" in out
    else:
        assert code == 2 and not out and len(errors) == 1
        assert (
            errors[0].startswith(f"maskspec-evaluate: {folder / broken.name}: expected") and broken.decoder in errors[0]
        )


def test_evaluation_says_in_one_line_what_a_loader_process_met(folder, score):
    os.mkfifo(folder / "pipe.wav")
    code, out, errors = score(workers="1", root=str(folder), paths=["1.wav", "pipe.wav"])
    found = "expected audio that soundfile decodes, found: a pipe or a device"
    assert code == 2 and not out and errors == [f"maskspec-evaluate: {folder}/pipe.wav: {found}"]


# Lengths of mp3s


@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
@pytest.mark.parametrize("rate, level", [(44100, 0.5), (44100, 0.9), (22050, 0.5), (22050, 0.9), (48000, 0.5)])
def test_an_mp3_is_not_taken_for_cut_off_whether_or_not_it_holds_its_length(tmp_path, mode, rate, level):
    path = tmp_path / "a.mp3"
    samples = np.resize(NOISE, 4 * rate) * np.linspace(0.1, 1, 4 * rate)
    soundfile.write(path, samples, rate, bitrate_mode=mode, compression_level=level)
    data = path.read_bytes()
    has_length = b"Xing" in data[:200] or b"Info" in data[:200]
    assert has_length or (rate, level, mode) == (22050, 0.9, "CONSTANT")  # its frames are too small to hold it
    for _ in range(1 + has_length):
        whole, _ = read_audio(str(path))
        assert mode != "CONSTANT" or abs(len(whole) - 4 * rate) < 0.1 * rate
        for seed in range(15):
            piece, _ = read_audio(str(path), 1.0, np.random.default_rng(seed))
            assert len(piece) == min(rate, len(whole))
        path.write_bytes(without_length(data) if has_length else data)


def test_an_mp3_without_its_length_is_read_as_far_as_it_goes(tmp_path):
    path = tmp_path / "a.mp3"
    for share, samples in [(1.0, 88200), (0.5, 44100)]:
        audio_as("mp3", share, without_length, seconds=2, rate=44100, **CONSTANT)(path)
        assert abs(len(read_audio(str(path))[0]) - samples) < 4410
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(AudioError, match="a.mp3: expected"):
        read_audio(str(path))


@pytest.mark.parametrize(
    "extension, subtype", [("wav", "PCM_16"), ("wav", "FLOAT"), ("flac", None), ("ogg", None), ("mp3", None)]
)
def test_a_file_with_damaged_bytes_is_read_or_refused(tmp_path, extension, subtype):
    path = tmp_path / f"a.{extension}"
    soundfile.write(path, NOISE, RATE, subtype=subtype)
    data, refused = np.fromfile(path, np.uint8), 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        damaged = data.copy()
        damaged[rng.integers(0, 120 if seed % 3 else len(data), 4)] = rng.integers(0, 256, 4)
        damaged.tofile(path)
        for clip_sec in (None, 0.3):
            try:
                clip, num_samples = load_clip(str(path), RATE, clip_sec, rng=rng)
                assert np.isfinite(clip).all() and 0 < num_samples <= len(clip)
            except AudioError as error:
                assert str(error).startswith(f"{path}: expected")
                refused += 1
    assert 0 < refused < 120


# Manifests and labels


def good_lines(root):
    return f"{root}\n1.wav\t16000\n".encode()


EXPECTED = "line 3: expected `path<TAB>frames`"
ROOT = "line 1: expected the directory .* found "
MANIFESTS = {  # what is made of two good lines, and why it is refused, None where it is used
    "as_it_was": (lambda good: good, None),
    "more_frames_than_the_file_has": (lambda good: good.replace(b"16000", b"99999999"), None),
    "a_clip_twice": (lambda good: good + b"1.wav\t16000\n", None),
    "a_dot_in_front": (lambda good: good.replace(b"1.wav", b"./1.wav"), None),
    "crlf": (lambda good: good.replace(b"\n", b"\r\n"), r"line 1: expected `\n` alone .* `sed -i 's/\r$//' "),
    "crlf_in_one_line": (lambda good: good + b"1.wav\t16000\r\n", r"line 3: expected `\n` alone"),
    "carriage_returns": (lambda good: good.replace(b"\n", b"\r"), r"line 1: expected `\n` alone"),
    "byte_order_mark": (lambda good: codecs.BOM_UTF8 + good, r"line 1: .* `sed -i '1s/^\xEF\xBB\xBF//' "),
    "utf_16": (lambda good: good.decode().encode("utf-16"), "line 1: expected UTF-8"),
    "latin_1": (lambda good: good + b"caf\xe9.wav\t5\n", r"line 3: expected UTF-8, found b'caf\xe9.wav\t5\n' (inv"),
    "a_nul": (lambda good: good + b"1.wav\0.wav\t5\n", "line 3: expected text, found a NUL byte"),
    "cut_off": (lambda good: good + b"1.wav\t160", r"line 3: .* found '1.wav\t160' and no more; is the file cut off?"),
    "audio": (lambda good: good + np.arange(9999).tobytes(), "line 3: expected"),
    "no_tab": (lambda good: good + b"1.wav 16000\n", EXPECTED),
    "two_tabs": (lambda good: good + b"1.wav\t\t16000\n", EXPECTED),
    "an_empty_line": (lambda good: good + b"\n", EXPECTED),
    "no_root": (lambda good: good.split(b"\n")[1] + b"\n" + good.split(b"\n")[1] + b"\n", ROOT + r"'1.wav\t16000'"),
    "a_relative_root": (lambda good: b"audio\n1.wav\t5\n", ROOT + "'audio', which is not absolute"),
    "the_root_moved": (lambda good: b"/nowhere\n1.wav\t5\n", ROOT + "'/nowhere', which is not a directory"),
    "nothing_but_a_root": (lambda good: good.split(b"\n")[0] + b"\n", "at least one clip, found no clip"),
    "nothing": (lambda good: b"", "at least one clip, found no clip"),
    "an_empty_path": (lambda good: good + b"\t16000\n", "line 3: expected a path .* found '', which is empty"),
    "an_absolute_path": (lambda good: good + b"/etc/1.wav\t5\n", "line 3: .* found '/etc/1.wav', which is absolute"),
    "a_path_that_climbs": (lambda good: good + b"../1.wav\t5\n", "line 3: .* which leads out of the root"),
    "a_path_that_climbs_late": (lambda good: good + b"a/../../1.wav\t5\n", "line 3: .* which leads out of the root"),
    **{
        f"frames_{name}": (lambda good, frames=frames: good + f"1.wav\t{frames}\n".encode(), EXPECTED)
        for name, frames in dict(
            none="", zero=0, negative=-5, signed="+5", fraction=5.5, a_word="many", spaced=" 5", superscript="²",
            other_digits="٣", leading_zero="05", too_many=10**18, far_too_many="9" * 5000,
        ).items()
    },
}  # fmt: skip


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_is_used_or_refused_with_its_line_by_all_three(folder, tmp_path, score, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    make, refused = MANIFESTS[name]
    path = tmp_path / "test.tsv"
    path.write_bytes(make(good_lines(folder)))
    num_clips = path.read_bytes().count(b"\n") - 1
    (tmp_path / "test.lbl").write_text("a\n" * num_clips)
    code, out, errors = score()
    if refused is None:
        assert code == 0 and f"test: scored {num_clips} of {num_clips} clips" in out
        task = pretraining_task(tmp_path, train_subset="test")
        task.load_dataset("test")
        assert [task.dataset("test")[n]["num_samples"] for n in range(num_clips)] == [RATE // 2] * num_clips
        assert check.read_subsets(tmp_path)[2] == []
        return
    parts = refused.split(" .* ")
    assert code == 2 and not out and len(errors) == 1 and len(errors[0]) < 1000
    messages = [errors[0].partition("maskspec-evaluate: ")[2], *check.read_subsets(tmp_path)[2]]
    with pytest.raises(ManifestError) as caught:
        pretraining_task(tmp_path, train_subset="test").load_dataset("test")
    messages.append(str(caught.value))
    assert len(messages) == 3
    for message in messages:
        assert message.startswith(str(path)) and all(part in message for part in parts)


@pytest.mark.parametrize("name", ["test.tsv", "test.lbl", "labels.csv"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(folder, tmp_path, score, name):
    (tmp_path / "test.tsv").write_bytes(good_lines(folder))
    (tmp_path / "test.lbl").write_text("a\n")
    write_vocabulary(tmp_path / "labels.csv", [Label("a", "A"), Label("b", "B")])
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    code, _, errors = score()
    assert code == 2 and len(errors) == 1 and f"{tmp_path / name}, found" in errors[0]


@pytest.mark.parametrize(
    "name, data, message",
    [
        ("test.lbl", b"a\r\n", r"test.lbl, line 1: expected `\\n` alone at line ends"),
        ("test.lbl", codecs.BOM_UTF8 + b"a\n", "test.lbl, line 1: .* byte-order mark"),
        ("test.lbl", b"\xe9\n", "test.lbl, line 1: expected UTF-8"),
        ("test.lbl", b"a", "test.lbl, line 1: .* is the file cut off"),
        ("test.lbl", b"a,\n", "test.lbl, line 1: expected keys of labels.csv, found an empty one"),
        ("test.lbl", b"a b\n", "test.lbl, line 1: expected keys of labels.csv, found a b"),
        ("test.lbl", b"a,-a\n", "test.lbl, line 1: expected a class present or absent, found a as both"),
        ("test.lbl", b"", "test.lbl, line 1: expected one line for each of the 1 clips, found 0"),
        ("test.lbl", b"a\n\n", "test.lbl, line 2: expected one line for each of the 1 clips, found 2"),
        ("labels.csv", b"0,a,A\n1,b,B\n", "labels.csv, line 1: expected index,mid,display_name"),
        ("labels.csv", b"index,mid,display_name\n0,a,\xe9\n", "labels.csv, line 2: expected UTF-8"),
        ("labels.csv", b'index,mid,display_name\n0,a,"A\n1,b,B\n', "labels.csv, line 2: expected a row of CSV"),
        ("labels.csv", b'index,mid,display_name\n0,a,"A\nB"\n', "labels.csv, line 2: .* holds a line break"),
        ("labels.csv", b"index,mid,display_name\n0,a b,A\n", "labels.csv, line 2: .* holds a comma or a space"),
        ("labels.csv", b"index,mid,display_name\n0,-a,A\n", "labels.csv, line 2: .* begins with `-`"),
        ("labels.csv", b"index,mid,display_name\n0,a,A\n1,a,B\n", "labels.csv, line 3: .* with a new key"),
    ],
)
def test_labels_are_refused_with_their_line(folder, tmp_path, score, name, data, message):
    (tmp_path / "test.tsv").write_bytes(good_lines(folder))
    (tmp_path / "test.lbl").write_text("a\n")
    (tmp_path / "labels.csv").write_bytes(b"index,mid,display_name\r\n0,a,A\r\n1,b,B\r\n")
    assert score()[0] == 0
    (tmp_path / name).write_bytes(data)
    code, out, errors = score()
    assert (
        code == 2 and not out and len(errors) == 1 and re.search(f"maskspec-evaluate: {tmp_path}/{message}", errors[0])
    )


@pytest.mark.parametrize(
    "name, message", [("two\nlines", "holds a line break"), (os.fsdecode(b"caf\xe9"), "is not UTF-8")]
)
def test_a_folder_whose_name_no_line_can_hold_is_refused_by_the_builder(tmp_path, name, message):
    for folder in ("tree", "zebra"):
        write_tone(tmp_path / folder / "1.wav", 0.3)
        write_tone(tmp_path / folder / "2.wav", 0.3)
    (tmp_path / "tree").rename(tmp_path / name)
    arguments = ["--out", tmp_path / "data", "--stats-clips", 0, "--max-rejected", 1]
    errors = run_build("folder", tmp_path / name, *arguments, code=2).stderr
    assert "the directory of the audio" in errors and message in errors
    errors = run_build("folder", tmp_path, *arguments, "--labels-from-parent", code=2).stderr
    assert "expected a class whose name is text, found" in errors and message in errors
    assert not list(tmp_path.glob("data/*"))


def test_check_names_a_clip_that_is_listed_twice_and_one_that_is_a_pipe(folder, tmp_path):
    os.mkfifo(folder / "pipe.wav")
    write_manifest(tmp_path / "test.tsv", Manifest(str(folder), ["1.wav", "pipe.wav", "1.wav"], [16000] * 3))
    output = run_build("check", tmp_path, code=2).stderr
    assert output.count("test.tsv, line ") == 2
    assert f"test.tsv, line 3: expected an audio file '{folder}/pipe.wav', found one that cannot be read" in output
    assert "test.tsv, line 4: expected every clip once, found '1.wav', which test.tsv has in line 2" in output
