"""Tar shards as webdataset writes them, read in place: a clip is consecutive members of one key.

`a/17.flac`, `a/17.json` and `a/17.cls` are the clip with the key `a/17`, which ends at the first dot of a file name.
--labels-from is the extension of the member with the labels. A text is one label (`cls`, `txt`); of JSON the names of
the fields follow (`json.label`, `json.scene.tags`), and its value is a text, a whole number, or a list of these.
"""

import argparse
import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Optional

from maskspec_fairseq.audio.formats import EXTENSIONS
from maskspec_fairseq.corpora.builder import Clip, Corpus
from maskspec_fairseq.corpora.shards import (
    add_shard_arguments,
    as_labels,
    make_corpus,
    read_arguments,
    sorted_names,
)
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import ClipLabels

EXAMPLE = "train=train-000.tar"
KEY = re.compile(r"((?:.*/|)[^./]+)[.]([^/]*)", re.DOTALL)  # as webdataset's base_plus_ext
JSON_FIELD = re.compile(r"((?:.*\.)?json)(?:\.(.+))?")
COMPRESSED = {b"\x1f\x8b\x08": "gunzip", b"\xfd7z": "unxz", b"(\xb5/": "unzstd"}  # first three bytes: program
MAX_LABEL = 2**20  # bytes of a member with labels
BLOCK = tarfile.BLOCKSIZE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_shard_arguments(parser, f"{EXAMPLE} 'eval=eval-*.tar'")
    parser.add_argument("--labels-from", metavar="FIELD", help="such as cls, txt or json.label (default: no labels)")


@dataclass
class Sample:
    """Consecutive members of one key.

    Attributes:
        audio: the path of the member of audio, `<shard>:<offset>:<length>`; "" if there is none.
        labels: the content of the member with labels, None if there is none.
    """

    key: str
    audio: str = ""
    labels: Optional[bytes] = None


def read_members(path: str) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The members of a tar, which is read to its end.

    Raises:
        ManifestError: it is compressed, cut off, damaged, has a sparse member, or something follows its end.
    """
    where = -1
    try:
        with open(path, "rb") as stream:
            program = COMPRESSED.get(stream.read(3))
            if program:
                raise ManifestError(
                    f"{path}: expected a tar that is not compressed, found one; unpack it by `{program}`"
                )
            stream.seek(0)
            tar = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115  # closes with the stream
            while True:
                member = tar.next()
                if member is None:
                    break
                if member.issparse() or member.offset <= where:
                    found = "a sparse one" if member.issparse() else "one that leads back"
                    raise ManifestError(
                        f"{path}: expected plain members, found {found}, {member.name!r}; write the tar again"
                    )
                where = member.offset
                yield tar, member
                tar.members.clear()  # type: ignore[attr-defined]  # which would grow with the tar
            stream.seek(tar.offset)
            rest = iter(lambda: stream.read(2**20), b"")
            ended = stream.seek(0, os.SEEK_END) >= tar.offset + BLOCK
            stream.seek(tar.offset)
            if not ended or any(block.strip(b"\0") for block in rest):
                found = "other bytes" if ended else "the end of the file"
                raise ManifestError(
                    f"{path}: expected blocks of zeros after the last member, at byte {tar.offset}, found {found}; get "
                    "it again if it is cut off or damaged; tars that were joined into one are named one by one"
                )
    except (tarfile.TarError, OSError, ValueError, OverflowError, RecursionError) as error:
        raise ManifestError(f"{path}: expected a tar that can be read, found: {error}; get it again") from error


def read_samples(path: str, name: str, label_extension: str) -> Iterator[Sample]:
    """The samples of a shard.

    Args:
        path: of the shard.
        name: what the paths of its clips begin with.
        label_extension: of the members with labels, "" for none.

    Raises:
        ManifestError: a key has two members of audio, or its members are not consecutive, or see `read_members`.
    """
    keys: set[str] = set()
    sample: Optional[Sample] = None
    for tar, member in read_members(path):
        match = KEY.fullmatch(member.name)
        if member.isdir() or not match:
            continue
        key, extension = match[1], match[2].lower()
        if sample is None or key != sample.key:
            if sample is not None:
                yield sample
            if key in keys:
                raise ManifestError(
                    f"{path}: expected consecutive members of one key, found {member.name!r} apart from the others; "
                    "sort the members by their names (`tar --sort=name`)"
                )
            keys.add(key)
            sample = Sample(key)
        if not member.isreg():  # a link: its clip counts as missing
            continue
        if f".{extension}".endswith(EXTENSIONS):
            if sample.audio:
                raise ManifestError(
                    f"{path}: expected one member of audio per key, found another one, {member.name!r}; write a tar "
                    "with one of them"
                )
            sample.audio = f"{name}:{member.offset_data}:{member.size}"
        elif extension == label_extension:
            content = tar.extractfile(member) if member.size <= MAX_LABEL else None
            if content is None:
                raise ManifestError(
                    f"{path}: expected labels of at most {MAX_LABEL} bytes, found {member.size} in {member.name!r}; "
                    "name another field with --labels-from"
                )
            sample.labels = content.read()
    if sample is not None:
        yield sample


def parse_labels(content: Optional[bytes], field: str, where: str) -> list[str]:
    """The labels of a sample.

    Args:
        content: of its member, None if there is none.
        field: of --labels-from.
        where: the sample, for messages.

    Raises:
        ManifestError: there is no such member or field, or it holds no labels.
    """
    problem = f"{where}: expected labels in {field}"
    if content is None:
        raise ManifestError(f"{problem}, found no such member; name another field with --labels-from")
    try:
        text = content.decode("utf-8")
        match = JSON_FIELD.fullmatch(field)
        if not match:
            return as_labels(text.strip(), where)
        value: Any = json.loads(text)
        for name in match[2].split(".") if match[2] else ():
            value = value[name]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ManifestError(
            f"{problem}, found {content[:80]!r} ({error}); name another field with --labels-from"
        ) from error
    return as_labels(value, where)


def collect(args: argparse.Namespace) -> Corpus:
    """List the members of the shards; the held-out part is the same on every machine.

    Raises:
        ManifestError: see `read_arguments`, `read_samples`, `parse_labels` and `make_corpus`.
    """
    files = read_arguments(args.files, (".tar",), EXAMPLE)
    root = os.path.commonpath([os.path.dirname(path) for _, path in files])
    match = JSON_FIELD.fullmatch(args.labels_from or "")
    label_extension = (match[1] if match else args.labels_from or "").lower()
    subsets: dict[str, list[Clip]] = {}
    missing: dict[str, list[str]] = {}
    names: set[str] = set()
    for subset, path in files:
        name = os.path.relpath(path, root)
        clips = subsets.setdefault(subset, [])
        before = len(clips)
        without = missing.setdefault(subset or "train", [])
        for sample in read_samples(path, name, label_extension):
            if not sample.audio:
                without.append(f"{name}: {sample.key}")
                continue
            labels = None
            if args.labels_from:
                labels = ClipLabels(parse_labels(sample.labels, args.labels_from, f"{path}, {sample.key!r}"))
                names.update(labels.present)
            clips.append(Clip(sample.audio, labels))
        print(f"{path}: {len(clips) - before} clips")
    for subset, keys in missing.items():
        if keys:
            print(f"note: {len(keys)} keys of {subset} have no file of audio that soundfile decodes, {keys[0]!r} first")
    if not any(subsets.values()):
        raise ManifestError(f"{files[0][1]}: expected members of audio ({', '.join(EXTENSIONS)}), found none")
    classes = sorted_names(names) if args.labels_from else None
    return make_corpus(root, subsets, classes, args, missing)
