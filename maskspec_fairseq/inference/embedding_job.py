"""Embed many clips into numpy files, by a job that can be interrupted and resumed.

Each clip's embedding is written to a file of its own as soon as it is computed; for one array of all clips, these files
are put together at the end.

Shapes: N clips, E width of an embedding.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
from torch import Tensor
from tqdm import tqdm

from maskspec_fairseq.atomic_write import PathLike, write_json, write_together, write_whole
from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.pieces import file_on_disk
from maskspec_fairseq.data_dir.lines import problem_of_text
from maskspec_fairseq.data_dir.manifest import read_manifest
from maskspec_fairseq.inference.audio_model import MAX_WINDOWS, AudioModel
from maskspec_fairseq.inference.embed_files import EmbeddingEncoder, FrameEncoder, Span
from maskspec_fairseq.inference.export_folder import folder_config
from maskspec_fairseq.inference.file_batches import FileEncoder, encode_files

RUN_FILE = "embed_run.json"
SOURCES_FILE = "embed_sources.jsonl"
FLOAT32 = np.dtype("<f4")

Source = tuple[int, int]  # size in bytes and time of the last change in ns


@dataclass(frozen=True)
class Clips:
    """What to embed.

    root: the directory that relative paths start from, absolute.
    paths: as they are listed.
    files: what to open for each of them.
    """

    root: str
    paths: Sequence[str]
    files: Sequence[str]


@dataclass(frozen=True)
class JobResult:
    """How a job ended.

    num_clips: all that were asked for, of which num_embedded have an embedding now, and num_before had one before.
    failed: for each clip without one, why it failed.
    """

    num_clips: int
    num_embedded: int
    num_before: int
    failed: list[str]


def list_files(files: Sequence[str]) -> Clips:
    """Clips given by their paths."""
    return Clips(os.getcwd(), files, files)


def list_manifest(data: str, subset: str) -> Clips:
    """The clips of a manifest; errors of `read_manifest`."""
    manifest = read_manifest(os.path.join(data, f"{subset}.tsv"))
    root = os.path.abspath(manifest.root)
    return Clips(root, manifest.paths, [os.path.join(root, path) for path in manifest.paths])


def embed_clips(
    model: AudioModel,
    clips: Clips,
    out: str,
    frames: bool = False,
    passes: int = 1,
    batch_size: int = MAX_WINDOWS,
    workers: int = 0,
    precision: str = "float32",
) -> JobResult:
    """Compute the embeddings that do not exist yet, or whose audio has changed, and write them.

    Args:
        model: on the device that it shall compute on.
        clips: what to embed.
        out: NAME.npy or NAME.npz for all clips, any other name for a folder with a file per clip (docs/embed.md).
        frames: one embedding per column of patches instead of one per clip; not with NAME.npy.
        passes: with frames, see `AudioModel.frame_embeddings`.
        batch_size, workers, precision: see `encode_files`.

    Raises:
        ValueError: clips that would share a file, what is at `out` is not of this job, frames with NAME.npy, or passes
            that do not divide a column.
        OSError: a file cannot be written.
        KeyboardInterrupt: the job was interrupted; the message says how much is done.
    """
    form = output_form(out)
    if frames and form == ".npy":
        raise ValueError(
            f"expected --out FILE.npz or a folder for --frames, found {out}: clips have different numbers of frames"
        )
    folder = f"{out}.parts" if form else out
    encoder: FileEncoder = FrameEncoder(model, passes) if frames else EmbeddingEncoder(model)
    targets = clip_targets(clips, folder)
    run = {"model_sha256": fingerprint(model), "root": clips.root, "frames": frames, "passes": passes}
    run = {**run, "batch_size": batch_size, "device": model.device.type, "precision": precision}
    if model.layers:  # read out otherwise than the checkpoint says
        run = {**run, "pool": model.architecture["pool"], "layers": list(model.layers)}
    finished = {**run, "clips_sha256": hashlib.sha256(json.dumps(targets).encode()).hexdigest()}
    if form and finish_removal(out, folder) == finished and os.path.isfile(out):
        return JobResult(len(targets), len(targets), len(set(targets)), [])
    check_free(out, folder)
    check_same_run(folder, run)

    sources = SourceLog(os.path.join(folder, SOURCES_FILE))
    files = dict(zip(targets, clips.files))  # a clip that is listed twice is embedded once
    before_reading = {target: source_of(file) for target, file in files.items()}  # a later change is for the next run
    endings = [".npy", ".times.npy"] if frames else [".npy"]
    todo = [target for target in files if not sources.is_done(target, before_reading[target], endings)]
    num_before = len(files) - len(todo)
    failed = {target: problem for target in todo if (problem := problem_of_path(files[target]))}
    todo = [target for target in todo if target not in failed]
    num_done = num_before
    with tqdm(total=len(files), initial=num_before + len(failed), unit="clip", desc="embed", file=sys.stderr) as bar:
        try:
            results = encode_files(encoder, [files[target] for target in todo], batch_size, workers, precision)
            for target, result in zip(todo, results):
                remove_embedding(target)  # of audio that has changed
                if isinstance(result, AudioError):
                    failed[target] = str(result)
                else:
                    write_embedding(target, result)
                    sources.add(target, before_reading[target])
                    num_done += 1
                bar.update()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{num_done} of {len(files)} clips are embedded; the same command embeds the others"
            ) from None

    done = [(path, target) for path, target in zip(clips.paths, targets) if target not in failed]
    if form and done:
        paths, parts = zip(*done)
        if form == ".npy":
            write_npy(out, paths, parts, model.embed_dim)
        else:
            write_npz(out, paths, parts, model.embed_dim, frames)
        if not failed:
            write_json(removal_path(out), finished)
            finish_removal(out, folder)
    if not done and not any(Path(folder).rglob("*.npy")):
        remove_notes(folder)
    return JobResult(len(targets), len(done), num_before, [failed[target] for target in files if target in failed])


def problem_of_path(file: str) -> str:
    """Why a path cannot be in the list of paths; "" if it can."""
    problem = problem_of_text(file)
    if not problem:
        return ""
    return f"{file!r}: expected a path that a list can hold, found one that {problem}; rename the file"


def write_embedding(target: str, result: Union[Span, tuple[Tensor, Tensor]]) -> None:
    """Write `target.npy`, and before it `target.times.npy` for frames."""
    if isinstance(result, Span):
        embeddings = result.embedding
    else:
        embeddings, times = result
        write_whole(f"{target}.times.npy", lambda path: np.save(path, times.numpy()))
    write_whole(f"{target}.npy", lambda path: np.save(path, embeddings.numpy()))


def remove_embedding(target: str) -> None:
    """Remove what `write_embedding` wrote, if there is any."""
    for suffix in (".npy", ".times.npy"):
        Path(target + suffix).unlink(missing_ok=True)


def source_of(file: str) -> Optional[Source]:
    """The state of an audio file, or of the file that a clip or a piece is in; None if there is no such file."""
    try:
        status = os.stat(file_on_disk(file))
    except (OSError, ValueError):  # ValueError: a path with a NUL
        return None
    return status.st_size, status.st_mtime_ns


class SourceLog:
    """The state of each audio file when it was embedded: a line of JSON per clip, [clip, size, time].

    A line is appended after the clip's embedding was written, so a kill in between costs one clip.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.sources: dict[str, Source] = {}
        lines: list[str] = []
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as stream:
                lines = stream.readlines()
        for line in lines:
            try:
                name, size, time = json.loads(line)
            except (TypeError, ValueError):  # the last line of a killed job
                continue
            self.sources[name] = (size, time)
        if lines and not lines[-1].endswith("\n"):
            with open(path, "a", encoding="utf-8") as stream:
                stream.write("\n")

    def name(self, target: str) -> str:
        return os.path.relpath(target, os.path.dirname(self.path))

    def is_done(self, target: str, source: Optional[Source], endings: Sequence[str]) -> bool:
        """Whether the embedding's files exist and its audio is as it was, or is no longer there (None)."""
        if not all(os.path.isfile(target + ending) for ending in endings):
            return False
        known = self.sources.get(self.name(target))
        return known is not None and source in (None, known)

    def add(self, target: str, source: Optional[Source]) -> None:
        if source is not None:
            with open(self.path, "a", encoding="utf-8") as stream:
                stream.write(json.dumps([self.name(target), *source]) + "\n")


def fingerprint(model: AudioModel) -> str:
    """SHA-256 of all that decides what a model computes; a checkpoint and its export have the same."""
    digest = hashlib.sha256(json.dumps(folder_config(model), sort_keys=True).encode())
    for name, value in sorted(model.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()


def check_same_run(folder: str, run: dict[str, Any]) -> None:
    """Check that the content of a folder was made by the same model and settings, or note them there if it is new.

    Raises:
        ValueError: it was made by others, or not by this program.
    """
    path = os.path.join(folder, RUN_FILE)
    if not os.path.isfile(path):
        if os.path.lexists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
            raise ValueError(
                f"{folder}: expected a new or empty folder, or one of maskspec-embed with {RUN_FILE}, found another; "
                "choose another --out"
            )
        write_json(path, run)
        return
    try:
        noted = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, found: {error}; remove the folder or choose another --out") from error
    if not isinstance(noted, dict):
        raise ValueError(f"{path}: expected settings of a job, found {noted!r}; remove the folder")
    noted = {"precision": "float32", **noted}  # older notes do not say it
    differing = [
        "another model" if name == "model_sha256" else f"{name} {noted.get(name)!r}, not {run[name]!r}"
        for name in run
        if noted.get(name) != run[name]
    ]
    if differing:
        raise ValueError(
            f"{folder}: expected embeddings by this command, found those of another one ({'; '.join(differing)}); "
            "give the same options, choose another --out, or remove the folder"
        )


def remove_notes(folder: str) -> None:
    """Remove a folder without embeddings, whose notes would only keep the next job, perhaps of another model, away."""
    for name in (RUN_FILE, SOURCES_FILE):
        Path(folder, name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the user's own folder, with other files
        os.rmdir(folder)


def output_form(out: str) -> str:
    """ ".npy", ".npz", or "" for a folder."""
    extension = os.path.splitext(out)[1]
    return extension if extension in (".npy", ".npz") else ""


def list_path(out: str) -> str:
    """The list of the paths of `NAME.npy`, next to it."""
    return os.path.splitext(out)[0] + ".paths.txt"


def check_free(out: str, folder: str) -> None:
    """Check that no file of another job is in the way.

    Raises:
        ValueError: there is one.
    """
    outputs = {".npy": [out, list_path(out)], ".npz": [out], "": []}[output_form(out)]
    found = [path for path in outputs if os.path.lexists(path)]
    if found and not os.path.isdir(folder):  # with its parts, it is this job's, of a call in which files failed
        raise ValueError(f"expected no {found[0]} yet, found one; remove it or choose another --out")


def clip_targets(clips: Clips, folder: str) -> list[str]:
    """The names of each clip's files, without `.npy` and `.times.npy`.

    Raises:
        ValueError: two clips that would share one.
    """
    sources: dict[str, str] = {}
    for path in clips.paths:
        source = os.path.abspath(os.path.join(clips.root, path))
        other = sources.setdefault(mirrored(path), source)
        if other != source:
            raise ValueError(
                f"expected clips whose files below {folder} differ, found {other} and {source}; give both paths alike, "
                "or embed them by two commands"
            )
    return [os.path.join(folder, mirrored(path)) for path in clips.paths]


def mirrored(path: str) -> str:
    """Where a path is below the folder: as it is given, or as the absolute path if it leads upwards."""
    path = os.path.normpath(path)
    if path.split(os.sep)[0] == os.pardir:
        path = os.path.abspath(path)
    return path.lstrip(os.sep)


def write_rows(path: PathLike, targets: Sequence[str], width: int) -> None:
    """Write the embeddings of clips as one .npy, (N, E), with one row in memory at a time."""
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=FLOAT32, shape=(len(targets), width))
    with open(path, "r+b") as stream:  # a full disk is an error here; a write to a map of it would be a SIGBUS
        os.posix_fallocate(stream.fileno(), 0, os.path.getsize(path))
    for number, target in enumerate(targets):
        rows[number] = np.load(f"{target}.npy")
    rows.flush()


def write_npy(out: str, paths: Sequence[str], targets: Sequence[str], width: int) -> None:
    """Write `NAME.npy` and the list of its paths."""
    directory, name = os.path.split(out)

    def write_list(scratch: Path) -> None:
        with open(scratch, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(f"{path}\n" for path in paths)

    def write_array(scratch: Path) -> None:
        write_rows(scratch, targets, width)

    write_together(directory or os.curdir, {os.path.basename(list_path(out)): write_list, name: write_array})


def write_npz(out: str, paths: Sequence[str], targets: Sequence[str], width: int, frames: bool) -> None:
    """Write `NAME.npz`, one array after the other. Its bytes are reproducible: the members have zipfile's own date."""

    def write_archive(scratch: Path) -> None:
        members = {}  # name in the archive -> file
        if frames:
            for number, target in enumerate(targets):
                members[f"frames_{number}.npy"], members[f"times_{number}.npy"] = f"{target}.npy", f"{target}.times.npy"
        else:
            members["embeddings.npy"] = str(scratch.with_suffix(".rows"))
            write_rows(members["embeddings.npy"], targets, width)
        with zipfile.ZipFile(scratch, "w") as archive:
            with archive.open("paths.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.array(paths), allow_pickle=False)
            for name, file in members.items():
                with open(file, "rb") as stream, archive.open(name, "w", force_zip64=True) as member:
                    shutil.copyfileobj(stream, member)

    write_whole(out, write_archive)


def removal_path(out: str) -> str:
    """The note next to `NAME.npy` or `NAME.npz` that it is complete, while the files that it was put together from are
    removed."""
    return f"{out}.done.json"


def finish_removal(out: str, folder: str) -> Any:
    """Remove the files that a complete output was put together from, also after a kill; nothing without a note of it.

    Returns:
        What the note says: the finished job. None if there is none.
    """
    path = Path(removal_path(out))
    if not path.is_file():
        return None
    finished = json.loads(path.read_text(encoding="utf-8"))
    if os.path.isdir(folder):
        shutil.rmtree(folder)
    path.unlink()
    return finished
