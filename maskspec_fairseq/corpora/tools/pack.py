"""Pack the clips of a data directory into uncompressed zips, one per subset, with manifests that point into them.

There are far fewer files to copy and to store; the bytes of each clip are unchanged. fairseq reads such zips by the
same paths. Clips that are in packs already are taken out of them: of Parquet, which has no random access, training from
zips is much faster.
"""

import argparse
import os
import shutil
import stat
import struct
import sys
import zipfile
from functools import partial
from pathlib import Path
from typing import BinaryIO, Callable, cast

from tqdm import tqdm

from maskspec_fairseq.argument_types import output_path
from maskspec_fairseq.atomic_write import check_writable, write_together
from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.hdf5_pack import PcmReader
from maskspec_fairseq.audio.packs import open_clip, split_path
from maskspec_fairseq.audio.pieces import split_piece
from maskspec_fairseq.audio.read import open_audio
from maskspec_fairseq.corpora.builder import resolve_root
from maskspec_fairseq.corpora.output_dir import check_overwritable
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import LABELS_FILE
from maskspec_fairseq.data_dir.manifest import Manifest, list_subsets, read_manifest, write_manifest
from maskspec_fairseq.data_dir.mel_stats import MEL_STATS_FILE

LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., length of the name, length of the extra field
SIGNATURE = b"PK\3\4"
READABLE = (stat.S_IFREG | 0o644) << 16  # mode of a member when it is unpacked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data_dir", type=Path, metavar="DATA_DIR")
    parser.add_argument(
        "--out", type=output_path, required=True, metavar="PACKED_DIR", help="where zips and manifests go"
    )


def data_offset(stream: BinaryIO, member: zipfile.ZipInfo) -> int:
    """The byte offset at which the data of a stored member begin, read from its local header.

    The directory at the end of the zip does not tell: a name that is not ASCII has more bytes than characters, and the
    extra field in front of the data may differ from that in the directory.

    Raises:
        ManifestError: there is no local header.
    """
    stream.seek(member.header_offset)
    signature, name_length, extra_length = LOCAL_HEADER.unpack(stream.read(LOCAL_HEADER.size))
    if signature != SIGNATURE:
        raise ManifestError(f"{stream.name}: expected the header of {member.filename!r}, found {signature!r}")
    return member.header_offset + LOCAL_HEADER.size + name_length + extra_length


def open_member(file: str) -> BinaryIO:
    """A file, or a clip in a pack, as bytes.

    Raises:
        AudioError: there is none, or it is a waveform and not a file.
    """
    place = split_path(file)
    if place is None:
        if not os.path.isfile(file):
            raise AudioError("none")
        return open(file, "rb")
    clip = open_clip(file, *place)
    if isinstance(clip, PcmReader):
        raise AudioError("a waveform, which is read from HDF5 as fast as from a zip")
    return cast(BinaryIO, clip)


def member_name(name: str, file: str) -> str:
    """What a clip is called in the zip: its path; a clip in a pack gets the extension of its format.

    Raises:
        AudioError: a clip in a pack is not audio.
    """
    if split_path(file) is None:
        return name
    with open_audio(file) as audio:
        return f"{name.replace(':', '/')}.{audio.format.lower()}"


def write_zip(path: Path, tsv: Path, manifest: Manifest) -> list[str]:
    """Write the clips of a manifest, files or clips in packs, into a zip, each once, whole where it lists pieces.

    Args:
        path: of the zip.
        tsv: path of the manifest, for messages.
        manifest: its content.

    Returns:
        The path of every clip after that of the zip: byte offset and byte length, then its place in the file if it is
        a piece.

    Raises:
        ManifestError: a clip is not there, or is a waveform and not a file; the message has its line.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as pack:
        pieces = [split_piece(manifest.full_path(index)) for index in range(len(manifest))]
        names = [name if piece is None else name.rsplit(":", 2)[0] for name, piece in zip(manifest.paths, pieces)]
        for index, name in enumerate(tqdm(names, unit="file", desc=f"pack of {tsv.stem}", file=sys.stderr)):
            file = os.path.join(manifest.root, name)
            if name in members:
                continue
            try:
                with open_member(file) as source:
                    member = zipfile.ZipInfo(member_name(name, file))  # a fixed date: the same files make the same zip
                    member.external_attr = READABLE
                    # decides on zip64; zipfile corrects it when the member is complete
                    member.file_size = source.seek(0, os.SEEK_END)
                    source.seek(0)
                    with pack.open(member, "w") as target:
                        shutil.copyfileobj(source, target)
            except AudioError as error:
                raise ManifestError(
                    f"{tsv}, line {index + 2}: expected a file of audio at {file!r}, found {error}; name a data "
                    "directory for which `maskspec-build check` reports no errors"
                ) from error
            members[name] = member
    with open(path, "rb") as stream:
        places = {name: (data_offset(stream, member), member.file_size) for name, member in members.items()}
    suffixes = ["" if piece is None else f":{piece.first}:{piece.frames}" for piece in pieces]
    return ["{}:{}".format(*places[name]) + suffix for name, suffix in zip(names, suffixes)]


def run(args: argparse.Namespace) -> int:
    """Write the zips and their manifests, and copy the other files of the data directory.

    Returns:
        0.

    Raises:
        ManifestError: there is no manifest, --out is the data directory or not writable or holds other files, or see
            `write_zip`.
    """
    check_writable(args.out)
    subsets = list_subsets(args.data_dir)
    tsvs = [args.data_dir / f"{subset}.tsv" for subset in subsets]
    if not tsvs:
        raise ManifestError(f"expected <subset>.tsv in {args.data_dir}, found none; write them with another subcommand")
    if os.path.realpath(args.data_dir) == os.path.realpath(args.out):
        raise ManifestError(f"expected --out other than DATA_DIR, whose manifests it would replace, found {args.out}")
    check_overwritable(args.out, subsets)
    root = resolve_root(args.out)
    manifests = {path.stem: read_manifest(path) for path in tsvs}
    places: dict[str, list[str]] = {}

    def write_pack(path: Path, tsv: Path) -> None:
        places[tsv.stem] = write_zip(path, tsv, manifests[tsv.stem])

    def write_tsv(path: Path, subset: str) -> None:  # after its zip
        paths = [f"{subset}.zip:{place}" for place in places[subset]]
        write_manifest(path, Manifest(root, paths, manifests[subset].frames))

    def copy(path: Path, source: Path) -> None:
        shutil.copyfile(source, path)

    files: dict[str, Callable[[Path], None]] = {}
    for subset, tsv in zip(subsets, tsvs):
        files[f"{subset}.zip"] = partial(write_pack, tsv=tsv)
        files[f"{subset}.tsv"] = partial(write_tsv, subset=subset)
    others = [LABELS_FILE, MEL_STATS_FILE]
    others += [f"{subset}{extension}" for subset in subsets for extension in (".lbl", ".events", ".rejected.tsv")]
    for name in others:
        if (args.data_dir / name).is_file():
            files[name] = partial(copy, source=args.data_dir / name)
    # Manifests of an earlier pack are removed first, so that none is ever next to a zip of another pack.
    write_together(args.out, files, stale=[*others, *(f"{subset}.tsv" for subset in subsets)])
    counts = ", ".join(f"{subset} {len(manifest)}" for subset, manifest in manifests.items())
    print(f"{args.out}: {counts} clips in {len(subsets)} zips")
    return 0
