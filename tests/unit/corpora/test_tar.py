"""maskspec-build tar, on shards that webdataset and tarfile write."""

import gzip
import io
import itertools
import json
import tarfile

import numpy as np
import pytest
import webdataset

from maskspec_fairseq.audio.read import read_audio
from maskspec_fairseq.corpora.shards import sorted_names
from maskspec_fairseq.data_dir.labels import read_vocabulary
from maskspec_fairseq.data_dir.manifest import read_manifest
from tests.factories import NOISE, encoded, read_subset, run_build, write_tar

CLIPS = [encoded(NOISE[n, : 8000 + 100 * n], ("flac", "wav", "ogg", "mp3")[n % 4]) for n in range(8)]
LABELS = [["dog"], ["rain", "sea"], [], ["sea"]]


def write_shard(path, numbers, labels=True):
    members = {}
    for n in numbers:
        key = f"Füße/{n:03d}"
        members[f"{key}.{('flac', 'wav', 'ogg', 'mp3')[n % 4]}"] = CLIPS[n]
        if labels:
            about = {"scene": {"tags": LABELS[n % 4]}, "number": n % 3, "note": f"clip {n}"}
            members[f"{key}.json"] = json.dumps(about).encode()
            members[f"{key}.cls"] = str(9 + n % 2).encode()
            members[f"{key}.txt"] = f"Class {n % 2}\n".encode()
    write_tar(path, members)
    return path


def tar(tmp_path, *arguments, code=0, **kwargs):
    return run_build("tar", *arguments, "--out", tmp_path / "data", "--stats-clips", 0, code=code, **kwargs)


@pytest.fixture()
def shards(tmp_path):
    (tmp_path / "shards").mkdir()
    for number in range(2):
        write_shard(tmp_path / "shards" / f"{number:03d}.tar", range(4 * number, 4 * number + 4))
    return tmp_path / "shards"


@pytest.mark.parametrize(
    "field, expected, classes",
    [
        ("json.scene.tags", LABELS * 2, ["dog", "rain", "sea"]),
        ("json.number", [[str(n % 3)] for n in range(8)], ["0", "1", "2"]),
        ("cls", [[str(9 + n % 2)] for n in range(8)], ["9", "10"]),
        ("txt", [[f"class_{n % 2}"] for n in range(8)], ["class_0", "class_1"]),
    ],
)
def test_shards_are_built_in_place_with_their_labels(tmp_path, shards, field, expected, classes):
    tar(tmp_path, f"train={shards}/000.tar", f"test={shards}/001.tar", "--labels-from", field)
    for subset, first in (("train", 0), ("test", 4)):
        manifest, labels = read_subset(tmp_path / "data", subset)
        assert labels == expected[first : first + 4] and manifest.root == str(shards)
        for index in range(4):
            audio, _ = read_audio(manifest.full_path(index))
            (tmp_path / "clip").write_bytes(CLIPS[first + index])
            assert np.array_equal(audio, read_audio(str(tmp_path / "clip"))[0]) and len(audio) == manifest.frames[index]
    assert [label.key for label in read_vocabulary(tmp_path / "data" / "labels.csv")] == classes
    assert "no errors" in run_build("check", tmp_path / "data", "--decode").stdout


def test_the_clips_are_webdatasets(tmp_path, shards):
    """Its own reader finds the same bytes under the same keys."""
    tar(tmp_path, f"train={shards}/000.tar")
    manifest = read_manifest(tmp_path / "data" / "train.tsv")
    content = (shards / "000.tar").read_bytes()
    samples = list(webdataset.WebDataset(str(shards / "000.tar"), shardshuffle=False))
    assert len(samples) == len(manifest) == 4
    for sample, path in zip(samples, manifest.paths):
        offset, length = map(int, path.split(":")[1:])
        assert content[offset : offset + length] in sample.values()


def test_without_subsets_a_part_is_held_out_whatever_the_order_of_the_shards(tmp_path, shards):
    found = []
    for names in (["000.tar", "001.tar"], ["001.tar", "000.tar"], ["*.tar"]):
        done = tar(tmp_path, *(shards / name for name in names), "--valid-fraction", 0.3)
        assert "train 6, valid 2 clips; rejected 0 of 8 files" in done.stdout
        found.append(
            {name: sorted(read_manifest(tmp_path / "data" / f"{name}.tsv").paths) for name in ("train", "valid")}
        )
    assert found[0] == found[1] == found[2] and not set(found[0]["train"]) & set(found[0]["valid"])


def test_long_clips_are_cut_into_pieces_with_their_labels(tmp_path):
    """Which are packed as what they are: the file once, and places in it."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    write_members(tmp_path / "a.tar", {"a.wav": encoded(samples, rate=4000), "a.cls": b"7"})
    tar(tmp_path, f"train={tmp_path}/a.tar", "--labels-from", "cls", "--segment-sec", 0.5)
    run_build("pack", tmp_path / "data", "--out", tmp_path / "packed")
    for folder in ("data", "packed"):
        manifest, labels = read_subset(tmp_path / folder, "train")
        assert labels == [["7"]] * 4 and list(manifest.frames) == [2000] * 4
        for index in range(4):
            audio, _ = read_audio(manifest.full_path(index))
            assert np.abs(audio[:, 0] - samples[2000 * index : 2000 * index + 2000]).max() < 1e-4


def write_members(path, members, form=tarfile.PAX_FORMAT, edit=lambda info: None):
    with tarfile.open(path, "w", format=form) as stream:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            edit(info)
            stream.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_other_members(tmp_path, form):
    long = "ü" * 90 + "/" + "a" * 150
    members = {
        f"{long}.flac": CLIPS[0],
        f"{long}.txt": b"dog",
        "._b.flac": b"shadow",
        "b.FLAC": CLIPS[4],
        "b.txt": b"sea",
    }
    members.update({"c.m4a": b"of another format", "c.txt": b"dog", "README": b"text"})
    write_members(tmp_path / "a.tar", members, form)
    done = tar(tmp_path, f"train={tmp_path}/a.tar", "--labels-from", "txt")
    manifest, labels = read_subset(tmp_path / "data", "train")
    assert labels == [["dog"], ["sea"]] and [len(read_audio(manifest.full_path(n))[0]) for n in range(2)] == [
        8000,
        8400,
    ]
    assert "note: 1 keys of train have no file of audio that soundfile decodes, 'a.tar: c' first" in done.stdout
    assert (tmp_path / "data" / "train.rejected.tsv").read_text().startswith("a.tar: c\tmissing")


def test_broken_clips_are_rejected(tmp_path):
    write_members(tmp_path / "a.tar", {"a.flac": CLIPS[0], "b.flac": b"no audio", "c.wav": b"", "d.flac": CLIPS[4]})
    done = tar(tmp_path, f"train={tmp_path}/a.tar", code=2)
    assert "more than --max-rejected" in done.stderr and "train 2 clips; rejected 2 of 4 files" in done.stdout
    reasons = (tmp_path / "data" / "train.rejected.tsv").read_text().splitlines()
    assert "b'no audio'" in reasons[0] and "expected an offset and a length above 0" in reasons[1]


def refused(tmp_path, message, *arguments):
    errors = tar(tmp_path, *arguments, code=2).stderr
    assert message in errors and errors.count("\n") == 1, errors
    assert not (tmp_path / "data").exists()


def test_tars_that_lose_something_are_refused(tmp_path, shards):
    shard = shards / "000.tar"
    content = shard.read_bytes()
    with tarfile.open(shard) as stream:
        members = [info.offset for info in stream]

    def with_content(data):
        (tmp_path / "a.tar").write_bytes(data)
        return f"train={tmp_path}/a.tar"

    refused(tmp_path, "a.tar: expected a tar that is not compressed, found one; unpack it by `gunzip`",
            with_content(gzip.compress(content)))  # fmt: skip
    for cut in (members[3] + 100, members[3] + 512, members[3] + 700, len(content) // 2):
        refused(tmp_path, "expected", with_content(content[:cut]))
    refused(tmp_path, f"zeros after the last member, at byte {members[4]}, found the end of the file; get it again",
            with_content(content[: members[4]]))  # fmt: skip
    damaged = bytearray(content)
    damaged[members[4] + 150] ^= 1  # its check sum: tarfile takes what is left for no part of the tar
    refused(tmp_path, f"zeros after the last member, at byte {members[4]}, found other bytes", with_content(damaged))
    refused(tmp_path, "found other bytes; get it again", with_content(content + content))
    refused(tmp_path, "expected a tar that can be read, found: ", with_content(b""))
    refused(tmp_path, "expected a tar that can be read, found: ", with_content(b"no tar" * 1000))


def test_members_that_are_not_as_webdataset_has_them_are_refused(tmp_path):
    def members(*names, edit=lambda info: None, **more):
        contents = {name: CLIPS[0] if name.endswith("flac") else b"dog" for name in names}
        return f"train={write_members(tmp_path / 'a.tar', {**contents, **more}, edit=edit)}"

    refused(tmp_path, "expected consecutive members of one key, found 'a.txt' apart from the others; sort the members",
            members("a.flac", "b.flac", "a.txt"))  # fmt: skip
    refused(tmp_path, "expected one member of audio per key, found another one, 'a.left.flac'",
            members("a.flac", "a.left.flac"))  # fmt: skip
    refused(tmp_path, "expected members of audio", members("a.txt"))
    refused(tmp_path, "'a': expected labels in cls, found no such member", members("a.flac"), "--labels-from", "cls")
    for content in (b"{", b'{"a": 1}', b"[" * 10**5, b"\xff", b'{"label": {}}', b'{"label": 1.5}', b'{"label": ""}'):
        write_members(tmp_path / "a.tar", {"a.flac": CLIPS[0], "a.json": content})
        refused(tmp_path, "'a': expected ", f"train={tmp_path}/a.tar", "--labels-from", "json.label")
    refused(tmp_path, "expected labels of at most 1048576 bytes, found 1048577 in 'a.txt'",
            members("a.flac", **{"a.txt": b"x" * (2**20 + 1)}), "--labels-from", "txt")  # fmt: skip

    def sparse(info):
        info.type, info.pax_headers = tarfile.REGTYPE, {"GNU.sparse.map": f"0,{info.size}", "GNU.sparse.size": "10000"}

    refused(tmp_path, "expected plain members, found a sparse one, 'a.flac'", members("a.flac", edit=sparse))


def test_arguments_that_name_no_shards_are_refused(tmp_path, shards):
    refused(tmp_path, "expected SUBSET=FILE, such as train=train-000.tar, found '=a.tar'", "=a.tar")
    refused(tmp_path, "a.tar.gz'; rename it, or unpack it if it is compressed", f"train={tmp_path}/a.tar.gz")
    refused(tmp_path, "none.tar, found none; name files as in", f"{tmp_path}/none.tar")
    refused(tmp_path, "expected every file once", f"{shards}/*.tar", f"{shards}/001.tar")
    refused(
        tmp_path,
        "expected SUBSET= before all files or none, found none before",
        f"a={shards}/000.tar",
        f"{shards}/001.tar",
    )
    write_members(tmp_path / "one.tar", {"a.flac": CLIPS[0]})
    refused(tmp_path, "expected a class with two files or groups at least, one to hold out", f"{tmp_path}/one.tar")


def test_classes_whose_keys_would_be_the_same_are_kept_apart(tmp_path):
    write_members(
        tmp_path / "a.tar", {"a.flac": CLIPS[0], "a.txt": b"sea, waves", "b.flac": CLIPS[4], "b.txt": b"sea waves"}
    )
    run_build("tar", f"train={tmp_path}/a.tar", "--labels-from", "txt", "--out", tmp_path / "data", "--stats-clips", 0)
    classes = read_vocabulary(tmp_path / "data" / "labels.csv")
    assert [label.name for label in classes] == ["sea waves", "sea, waves"] and classes[0].key != classes[1].key


def test_classes_of_equal_numbers_are_in_one_order():
    names = ["1", "01", "2", "001", "10"]
    assert all(sorted_names(order) == ["001", "01", "1", "2", "10"] for order in itertools.permutations(names))
