"""maskspec-embed: embeddings of files or of a manifest's clips, by any model, pretrained or finetuned.

Every clip's embedding is written by itself as soon as it is there, so that an interrupted job can go on; an array of
all clips is put together at the end.

Shapes: N clips, D width.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import zipfile
from typing import IO, Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from tqdm import tqdm

from maskspec_fairseq.argument_types import int_at_least
from maskspec_fairseq.atomic_write import write_together
from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.cli.arguments import add_batch_size, add_device, exit_code, make_parser
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.lines import problem_of_text
from maskspec_fairseq.data_dir.manifest import read_manifest
from maskspec_fairseq.inference.audio_model import MAX_WINDOWS, AudioModel
from maskspec_fairseq.inference.embed_files import embed_file, embed_frames
from maskspec_fairseq.inference.export_folder import folder_config
from maskspec_fairseq.inference.load import load_model

RUN_FILE = "embed_run.json"
FLOAT32 = np.dtype("<f4")

EXAMPLE = """maskspec-embed clips/*.wav --checkpoint CHECKPOINT --out clips.npy
maskspec-embed --data data/esc50 --subset fold1 --checkpoint CHECKPOINT --out fold1.npz
maskspec-embed hour.flac --checkpoint CHECKPOINT --out embeddings/ --frames --passes 4"""


class Clips(NamedTuple):
    """What to embed: paths as they are listed, and the directory that they start from."""

    root: str
    paths: Sequence[str]


def clips_of(args: argparse.Namespace) -> Clips:
    """The files of the command line, or the clips of a manifest; errors of `read_manifest`."""
    if args.files:
        return Clips(os.getcwd(), args.files)
    manifest = read_manifest(os.path.join(args.data, f"{args.subset}.tsv"))
    return Clips(os.path.abspath(manifest.root), manifest.paths)


def fingerprint(model: AudioModel) -> str:
    """SHA-256 of all that decides what a model computes; a checkpoint and its export have the same."""
    digest = hashlib.sha256(json.dumps(folder_config(model), sort_keys=True).encode())
    for name, value in sorted(model.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()


def mirrored(path: str) -> str:
    """Where a path is below the folder: as it is given, or as the absolute path where it leads upwards."""
    path = os.path.normpath(path)
    if path.split(os.sep)[0] == os.pardir:
        path = os.path.abspath(path)
    return path.lstrip(os.sep)


def targets_of(clips: Clips, folder: str) -> List[str]:
    """What each clip's files are called, without their `.npy` and `.times.npy`.

    Raises:
        ValueError: two clips that would share one.
    """
    sources: Dict[str, str] = {}
    for path in clips.paths:
        source = os.path.abspath(os.path.join(clips.root, path))
        other = sources.setdefault(mirrored(path), source)
        if other != source:
            raise ValueError(
                f"expected clips whose files below {folder} differ, found {other} and {source}; give both paths alike, "
                "or embed them by two commands"
            )
    return [os.path.join(folder, mirrored(path)) for path in clips.paths]


def expect_same_run(folder: str, run: Dict[str, Any]) -> None:
    """See that what is in a folder was made by the same model and settings, or note them there.

    Raises:
        ValueError: it was made otherwise, or by no job of this program.
    """
    path = os.path.join(folder, RUN_FILE)
    if not os.path.isfile(path):
        if os.path.lexists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
            raise ValueError(
                f"{folder}: expected a new or empty folder, or one of maskspec-embed with {RUN_FILE}, found another; "
                "choose another --out"
            )
        write_together(folder, {RUN_FILE: lambda scratch: scratch.write_text(json.dumps(run, indent=1) + "\n")})
        return
    with open(path, encoding="utf-8") as stream:
        theirs = json.load(stream)
    differing = [f"{name} {theirs.get(name)!r}, not {run[name]!r}" for name in run if theirs.get(name) != run[name]]
    if differing:
        raise ValueError(
            f"{folder}: expected embeddings by this command, found those of another one ({'; '.join(differing)}); "
            "give the same options, choose another --out, or remove the folder"
        )


def write_whole(path: str, write: Callable[[IO[bytes]], None]) -> None:
    """Write a file that is not there before it is whole."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".tmp", "wb") as stream:
        write(stream)
    os.replace(path + ".tmp", path)


def embed_clip(model: AudioModel, path: str, target: str, args: argparse.Namespace) -> None:
    """Embed one file and write `target.npy`, and before it `target.times.npy` for frames; errors of `embed_file`."""
    if args.frames:
        frames, times = embed_frames(model, path, args.passes)
        write_whole(f"{target}.times.npy", lambda stream: np.save(stream, times.numpy()))
    else:
        frames = embed_file(model, path, args.batch_size).embedding
    write_whole(f"{target}.npy", lambda stream: np.save(stream, frames.numpy()))


def write_rows(stream: IO[bytes], targets: Sequence[str], width: int) -> None:
    """The embeddings of some clips as one .npy, (N, D), a row in memory at a time."""
    header = {"descr": FLOAT32.str, "fortran_order": False, "shape": (len(targets), width)}
    np.lib.format.write_array_header_1_0(stream, header)
    for target in targets:
        stream.write(np.load(f"{target}.npy").astype(FLOAT32).tobytes())


def write_npy(out: str, paths: Sequence[str], targets: Sequence[str], width: int) -> None:
    """`OUT.npy` and the list of its rows."""

    def write_array(scratch: os.PathLike) -> None:
        with open(scratch, "wb") as stream:
            write_rows(stream, targets, width)

    def write_list(scratch: os.PathLike) -> None:
        with open(scratch, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(f"{path}\n" for path in paths)

    directory, name = os.path.split(out)
    files = {os.path.basename(list_of(out)): write_list, name: write_array}
    write_together(directory or os.curdir, files)


def write_npz(out: str, paths: Sequence[str], targets: Sequence[str], width: int, frames: bool) -> None:
    """`OUT.npz`, an array after the other; zipfile's own date for its members keeps the file the same every time."""

    def write_archive(scratch: os.PathLike) -> None:
        with zipfile.ZipFile(scratch, "w") as archive:
            with archive.open("paths.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.array(paths), allow_pickle=False)
            if not frames:
                with archive.open("embeddings.npy", "w", force_zip64=True) as stream:
                    write_rows(stream, targets, width)
            for number, target in enumerate(targets if frames else ()):
                for key, suffix in (("frames", ".npy"), ("times", ".times.npy")):
                    with open(target + suffix, "rb") as part:
                        with archive.open(f"{key}_{number}.npy", "w", force_zip64=True) as stream:
                            shutil.copyfileobj(part, stream)

    directory, name = os.path.split(out)
    write_together(directory or os.curdir, {name: write_archive})


def remove_parts(folder: str) -> None:
    """Remove a folder under another name, so that a job that is killed meanwhile does not leave half of it."""
    scratch = f"{folder}.done"
    shutil.rmtree(scratch, ignore_errors=True)
    os.replace(folder, scratch)
    shutil.rmtree(scratch)


def list_of(out: str) -> str:
    """The list of paths beside `OUT.npy`."""
    return os.path.splitext(out)[0] + ".paths.txt"


def form_of(out: str) -> str:
    """ ".npy", ".npz", or "" for a folder."""
    extension = os.path.splitext(out)[1]
    return extension if extension in (".npy", ".npz") else ""


def expect_room(args: argparse.Namespace, folder: str) -> None:
    """See that no file of another job is in the way.

    Raises:
        ValueError: there is one.
    """
    outputs = {".npy": [args.out, list_of(args.out)], ".npz": [args.out], "": []}[form_of(args.out)]
    there = [path for path in outputs if os.path.lexists(path)]
    if there and not os.path.isdir(folder):  # with the parts, it is this job's, from a call in which files failed
        raise ValueError(f"expected no {there[0]} yet, found one; remove it or choose another --out")


def embed(args: argparse.Namespace) -> Tuple[int, List[str]]:
    """Embed and write what is not there yet; returns the number of clips, and why the failed ones failed."""
    form = form_of(args.out)
    if args.frames and form == ".npy":
        raise ValueError(
            f"expected --out FILE.npz or a folder for --frames, found {args.out}: clips have different numbers of them"
        )
    folder = f"{args.out}.parts" if form else args.out
    expect_room(args, folder)
    model = load_model(args.checkpoint).to(args.device)
    if model.column_samples % args.passes:
        raise ValueError(
            f"expected --passes that divides the {model.column_samples} samples of a column of patches, found "
            f"{args.passes}"
        )
    clips = clips_of(args)
    targets = targets_of(clips, folder)
    run = {"model_sha256": fingerprint(model), "root": clips.root}
    run.update((name, getattr(args, name)) for name in ("frames", "passes", "batch_size", "device"))
    expect_same_run(folder, run)

    left = {target: path for target, path in zip(targets, clips.paths) if not os.path.isfile(f"{target}.npy")}
    failed: Dict[str, str] = {}
    total = len(set(targets))
    with tqdm(total=total, initial=total - len(left), unit="clip", desc="embed", file=sys.stderr) as bar:
        for target, path in left.items():
            problem = problem_of_text(path)
            try:
                if problem:
                    raise AudioError(f"{path!r}: expected a path that a list can hold, found one that {problem}")
                embed_clip(model, os.path.join(clips.root, path) if args.data else path, target, args)
            except AudioError as error:
                failed[target] = str(error)
            bar.update()

    done = [(path, target) for path, target in zip(clips.paths, targets) if target not in failed]
    if form and done:
        paths, parts = zip(*done)
        if form == ".npy":
            write_npy(args.out, paths, parts, model.embed_dim)
        else:
            write_npz(args.out, paths, parts, model.embed_dim, args.frames)
        if not failed:
            remove_parts(folder)
    earlier = f", {total - len(left)} of them before" if len(left) < total else ""
    print(
        f"embedded {len(done)} of {len(targets)} clips{earlier}: {args.out if done or not form else 'nothing written'}"
    )
    return len(targets), list(failed.values())


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-embed", __doc__, EXAMPLE)
    parser.add_argument("files", nargs="*", metavar="FILE", help="audio of any length, rate and number of channels")
    parser.add_argument("--data", metavar="DATA_DIR", help="with a manifest, instead of files")
    parser.add_argument("--subset", help="of DATA_DIR: the manifest is DATA_DIR/SUBSET.tsv")
    parser.add_argument("--checkpoint", required=True, help="of any run, or a folder of maskspec-export")
    parser.add_argument(
        "--out",
        required=True,
        help="NAME.npy or NAME.npz with all clips, any other name for a folder of one .npy a clip",
    )
    parser.add_argument(
        "--frames", action="store_true", help="an embedding every 160 ms, with its time in s, instead of one a clip"
    )
    parser.add_argument(
        "--passes",
        type=int_at_least(1),
        default=1,
        metavar="N",
        help="with --frames: encode every clip N times, for a frame every 160/N ms (default: %(default)s)",
    )
    add_batch_size(parser, MAX_WINDOWS)
    add_device(parser)
    return parser


def main(argv: Optional[list] = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    if bool(args.files) == bool(args.data):
        parser.error("expected files or --data, one of the two")
    if bool(args.data) != bool(args.subset):
        parser.error("--data and --subset need each other")
    if args.passes > 1 and not args.frames:
        parser.error("--passes needs --frames")
    try:
        num_clips, failed = embed(args)
    except (ManifestError, OSError, ValueError) as error:
        print(f"maskspec-embed: {error}", file=sys.stderr)
        return 2
    return exit_code(parser, failed, f"{num_clips} clips could not be embedded")


if __name__ == "__main__":
    sys.exit(main())
