"""What writers write, readers read back unchanged; all else is refused with the file and its line, by both."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import (
    ClipLabels,
    Label,
    read_labels,
    read_vocabulary,
    write_labels,
    write_vocabulary,
)
from maskspec_fairseq.data_dir.manifest import Manifest, read_manifest, write_manifest

bounded = settings(max_examples=150, derandomize=True, deadline=None, database=None)

# Every character there is, halves of surrogate pairs too, and often those that mean something
text = st.text(
    st.one_of(st.sampled_from(list('\t\n\r\0 ,.-/"0²٣a\u2028\ufeff\udce9')), st.characters(exclude_categories=()))
)
word = st.text("abcé-/.", min_size=1, max_size=5)  # most of them are accepted
number = st.one_of(st.integers(1, 10**6), st.integers(1, 10**18), st.integers(-2, 2**63 - 1))


def encode(parts):
    return "".join(parts).encode("utf-8", "surrogatepass")


def mostly(usual, other):
    return st.sampled_from([usual] * 9 + [other]).flatmap(lambda strategy: strategy)


def lines(*fields, numbered=False):
    """Bytes of a file with lines made of some fields, and now and then of anything."""
    ends = st.sampled_from(["\n"] * 60 + ["\r\n", "\r", "", "\0\n"])
    parts = st.lists(st.tuples(mostly(st.tuples(*fields).map("".join), text), ends).map("".join), max_size=4)
    if numbered:
        parts = parts.map(lambda parts: [f"{number},{part}" for number, part in enumerate(parts)])
    return mostly(parts.map(encode), st.binary(max_size=40))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("properties")


def read_or_refused(read, path):
    """What is read, or None where it is refused as it should be."""
    try:
        return read(path)
    except ManifestError as error:
        assert str(path) in str(error) and (", line " in str(error) or "found no clip" in str(error))
        return None


def written(write, path, content):
    try:
        write(path, content)
    except ManifestError as error:
        assert f"{path}, line " in str(error)
        return False
    return True


@bounded
@given(st.lists(st.tuples(st.one_of(word, text), number), min_size=1, max_size=4))
def test_a_manifest_is_refused_or_comes_back(folder, clips):
    path = folder / "train.tsv"
    clips = [(name.encode("utf-8", "replace").decode(), frames) for name, frames in clips]  # a `Manifest` is UTF-8
    manifest = Manifest(str(folder), [name for name, _ in clips], [frames for _, frames in clips])
    if written(write_manifest, path, manifest):
        found = read_manifest(path)
        assert (found.root, list(found.paths)) == (manifest.root, list(manifest.paths))
        assert found.frames.tolist() == manifest.frames.tolist()


@bounded
@given(st.one_of(word, text))
def test_a_root_is_refused_or_comes_back(folder, name):
    path, root = folder / "root.tsv", f"{folder}/{name}"
    if written(write_manifest, path, Manifest(root, ["a.wav"], [1])):
        try:
            assert read_manifest(path).root == root
        except ManifestError as error:
            assert f"{path}, line 1: " in str(error) and "which is not a directory" in str(error)
    assert not written(write_manifest, path, Manifest(name.lstrip("/"), ["a.wav"], [1]))


@bounded
@given(lines(mostly(word, text), st.just("\t"), number.map(str)))
def test_a_manifest_that_is_read_would_be_written_to_the_byte(folder, content):
    path, again = folder / "read.tsv", folder / "again.tsv"
    path.write_bytes(f"{folder}\n".encode() + content)
    manifest = read_or_refused(read_manifest, path)
    if manifest:
        write_manifest(again, manifest)
        assert again.read_bytes() == path.read_bytes()


@bounded
@given(st.lists(st.tuples(*[st.lists(st.one_of(word, text), max_size=3)] * 2), min_size=1, max_size=4))
def test_labels_are_refused_or_come_back(folder, keys):
    path = folder / "train.lbl"
    clips = [ClipLabels(present, absent) for present, absent in keys]
    if written(write_labels, path, clips):
        vocabulary = [Label(key, key) for clip in clips for key in [*clip.present, *clip.absent]]
        assert list(read_labels(path, vocabulary, len(clips))) == clips


@bounded
@given(
    lines(st.sampled_from(["", "a", "b", "-a", "a,b", "a,-b", "-é", "é,a,-b", "a,,b"])), st.sampled_from([0, 0, 0, 1])
)
def test_labels_that_are_read_are_written_with_the_same_meaning(folder, content, lacking):
    path, again = folder / "read.lbl", folder / "again.lbl"
    path.write_bytes(content)
    num_clips = content.count(b"\n") + lacking
    vocabulary = [Label(key, key) for key in ("a", "b", "é")]
    clips = read_or_refused(lambda path: read_labels(path, vocabulary, num_clips), path)
    if clips is not None:
        write_labels(again, clips)
        assert len(clips) == num_clips and list(read_labels(again, vocabulary, num_clips)) == list(clips)


@bounded
@given(st.lists(st.tuples(st.one_of(word, text), text), max_size=3))
def test_a_vocabulary_is_refused_or_comes_back(folder, labels):
    path = folder / "labels.csv"
    vocabulary = [Label(key, name) for key, name in labels]
    if written(write_vocabulary, path, vocabulary):
        assert read_vocabulary(path) == vocabulary


@bounded
@given(lines(word, st.just(","), mostly(word, st.one_of(text, st.just('"'))), numbered=True))
def test_a_vocabulary_that_is_read_is_written_with_the_same_meaning(folder, content):
    path, again = folder / "read.csv", folder / "again.csv"
    path.write_bytes(b"index,mid,display_name\n" + content)
    vocabulary = read_or_refused(read_vocabulary, path)
    if vocabulary is not None:
        write_vocabulary(again, vocabulary)
        assert read_vocabulary(again) == vocabulary
