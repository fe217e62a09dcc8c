"""From the files of a corpus to the manifests of a data directory.

A module of a corpus has `add_arguments(parser)` and `collect(args)`, which returns a `Corpus`. `cli/build.py` lists the
modules, adds the arguments that all of them share, and passes the `Corpus` to `write_corpus`. See docs/manifests.md,
"Adding a corpus".
"""

import itertools
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

import soundfile
from tqdm import tqdm

from maskspec_fairseq.atomic_write import write_together
from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.formats import EXTENSIONS, conversion, is_decodable
from maskspec_fairseq.audio.read import AudioReader, open_audio
from maskspec_fairseq.corpora.pieces import LONG_SEC, Cutting, Part, cut
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.events import Event, write_events
from maskspec_fairseq.data_dir.labels import LABELS_FILE, ClipLabels, Label, write_labels, write_vocabulary
from maskspec_fairseq.data_dir.lines import problem_of_text
from maskspec_fairseq.data_dir.manifest import Manifest, problem_of_path, write_manifest, write_rejected
from maskspec_fairseq.data_dir.mel_stats import MEL_STATS_FILE

CHUNK = 64  # files that a process gets at a time


@dataclass
class Clip:
    """A file of a corpus.

    Attributes:
        path: relative to the root of the corpus.
        labels: None if the corpus has no labels.
        copies: further files of the same clip, used if the first one is broken.
        part: of the file, if the corpus has no other file to hold out; None for all of it.
        events: when the labels begin and end, in a corpus that is not cut; None if the corpus does not say.
    """

    path: str
    labels: Optional[ClipLabels] = None
    copies: Sequence[str] = ()
    part: Optional[Part] = None
    events: Optional[Sequence[Event]] = None


@dataclass
class Corpus:
    """What the module of a corpus collects. No file has been opened yet.

    Attributes:
        root: the directory that the paths of the clips start from.
        subsets: name -> clips.
        vocabulary: the classes in the order of the model's outputs; None if the corpus has no labels.
        missing: subset -> clips that the lists of the corpus name and that do not exist.
        cutting: how long files are cut into pieces, which have the labels of the file; None if files stay whole.
        hold_out: chooses the clips of valid, which is empty until then, out of the paths of train that can be used;
            None if the subsets are given.
    """

    root: Path
    subsets: dict[str, list[Clip]]
    vocabulary: Optional[list[Label]] = None
    missing: dict[str, list[str]] = field(default_factory=dict)
    cutting: Optional[Cutting] = None
    hold_out: Optional[Callable[[list[str]], set[str]]] = None


class Header(NamedTuple):
    """The length of a file, or why it is rejected.

    Attributes:
        frames: at the file's own rate.
        rate: Hz.
        reason: "" if the file can be used.
    """

    frames: int = 0
    rate: int = 0
    reason: str = ""


def find_audio(directory: Path) -> list[str]:
    """Paths of the audio files below a directory, relative to it and sorted; hidden files are skipped.

    Links are followed. A dangling link is returned too, because it may have pointed to audio; it has no header, so it
    is rejected later. So are files of `UNDECODABLE` formats, unless a file next to them has the same name in a format
    that can be decoded: then they have been converted.

    Raises:
        ManifestError: there is no such directory, a folder in it cannot be read, or it holds no audio.
    """
    if not directory.is_dir():
        raise ManifestError(f"expected a directory of audio, found none at {directory}")

    def refuse(error: OSError) -> None:
        raise ManifestError(
            f"expected a directory that can be read, found {error.filename}: {error.strerror}; "
            "make it readable, or move it out of the corpus"
        ) from error

    found: list[str] = []
    real_paths: dict[str, str] = {}  # of the folders and their parents
    for folder, folders, files in os.walk(directory, onerror=refuse, followlinks=True):
        real_paths[folder] = os.path.realpath(folder)
        parents = itertools.takewhile(lambda path: path in real_paths, map(str, Path(folder).parents))
        if any(real_paths[parent] == real_paths[folder] for parent in parents):  # a link that leads back
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = os.path.relpath(folder, directory)
        decodable = {os.path.splitext(name)[0] for name in files if name.lower().endswith(EXTENSIONS)}
        found += [
            os.path.normpath(os.path.join(relative, name))
            for name in files
            if not name.startswith(".")
            and (
                name.lower().endswith(EXTENSIONS)
                or (not is_decodable(name) and os.path.splitext(name)[0] not in decodable)
                or not os.path.exists(os.path.join(folder, name))
            )
        ]
    if not found:
        raise ManifestError(f"expected .wav, .flac, .ogg, .mp3 or other audio below {directory}, found none")
    return sorted(found)


def resolve_root(root: Path) -> str:
    """Line 1 of a manifest: the absolute path, with links resolved.

    Raises:
        ManifestError: a manifest cannot hold the path.
    """
    resolved = str(root.resolve())
    problem = "holds a tab" if "\t" in resolved else problem_of_text(resolved)
    if problem:
        raise ManifestError(f"the directory of the audio, {resolved!r}: the path {problem}; rename it")
    return resolved


def read_header(job: tuple[str, str, float, int]) -> Header:
    """Read how long a file is; of a long one, which may be cut into pieces, also whether it has an end.

    Args:
        job: root, path, and the shortest length, s, and the lowest rate, Hz, that are accepted.
    """
    root, path, min_sec, min_rate = job
    problem = problem_of_path(path)
    if problem:
        return Header(reason=f"the path {problem}")
    if not is_decodable(path):
        return Header(reason=f"not a format of soundfile; {conversion(os.path.join(root, path))}")
    try:
        with open_audio(os.path.join(root, path)) as file:
            frames, rate = file.frames, file.samplerate
            last = max(0, frames - 1 - file.length_slack)
            if frames > LONG_SEC * rate and not _has_frame(file, last):
                return Header(reason=f"cut off: {frames / rate:.1f} s by its header, of which the end is missing")
    except AudioError as error:
        return Header(reason=f"unreadable: {error}")
    if frames <= 0:
        return Header(reason="empty: 0 frames")
    if rate < min_rate:
        return Header(reason=f"too low a sample rate: {rate} Hz")
    if frames < min_sec * rate:
        return Header(reason=f"too short: {frames / rate:.3f} s")
    return Header(frames, rate)


def _has_frame(file: AudioReader, number: int) -> bool:
    try:
        file.seek(number)
        return len(file.read(1)) > 0
    except (soundfile.SoundFileError, OSError):
        return False


def first_usable(root: str, clip: Clip, header: Header, min_sec: float, min_rate: int) -> tuple[str, Header]:
    """Choose the file of a clip: its own, or the first of its copies that can be used.

    Args:
        header: of the clip's own path.

    Returns:
        Path and header; those of the clip's own path if no file can be used.
    """
    for copy in clip.copies if header.reason else ():
        header_of_copy = read_header((root, copy, min_sec, min_rate))
        if not header_of_copy.reason:
            return copy, header_of_copy
    return clip.path, header


def read_headers(
    root: str, paths: Sequence[str], min_sec: float, min_rate: int, workers: Optional[int]
) -> list[Header]:
    """`read_header` of all paths, in order, by several processes."""
    return in_parallel(read_header, [(root, path, min_sec, min_rate) for path in paths], workers)


def in_parallel(
    read: Callable[[Any], Any], jobs: Sequence[Any], workers: Optional[int], desc: str = "headers"
) -> list[Any]:
    """`read` of all jobs, in order, with a progress bar; by several processes if there are more jobs than a chunk.

    Args:
        workers: number of processes; None for the number of cores.
        desc: label of the progress bar.
    """
    if len(jobs) <= CHUNK:  # a single process would get all of them
        return [read(job) for job in tqdm(jobs, unit="file", desc=desc, file=sys.stderr)]
    with multiprocessing.Pool(workers, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)) as pool:
        results = pool.imap(read, jobs, chunksize=CHUNK)
        return list(tqdm(results, total=len(jobs), unit="file", desc=desc, file=sys.stderr))


def write_corpus(
    corpus: Corpus, out: Path, min_sec: float, min_rate: int, max_rejected: float, workers: Optional[int] = None
) -> tuple[str, bool]:
    """Read the headers of a corpus and write its data directory.

    Args:
        min_sec: shorter files are rejected, s.
        min_rate: files of a lower sample rate are rejected, Hz.
        max_rejected: the largest fraction of rejected files that counts as a success; if it is not 0, one file does.
        workers: see `in_parallel`.

    Returns:
        A line that says what was written, and whether enough of the files can be used.

    Raises:
        ManifestError: the data directory cannot hold the name of a directory or of a class.
    """
    root = resolve_root(corpus.root)
    if corpus.cutting is not None and corpus.cutting.sec < min_sec:
        raise ManifestError(
            f"expected --segment-sec of at least --min-sec, {min_sec:g} s, found {corpus.cutting.sec:g}; raise it"
        )
    for label in corpus.vocabulary or ():
        problem = problem_of_text(label.name)
        if problem:
            raise ManifestError(
                f"expected a class whose name is text, found {label.name!r}, which {problem}; rename it"
            )
    names = [clip.path for clips in corpus.subsets.values() for clip in clips]
    headers = iter(read_headers(root, names, min_sec, min_rate, workers))
    opened = {subset: list(zip(clips, headers)) for subset, clips in corpus.subsets.items()}
    if corpus.hold_out is not None:
        usable = [clip.path for clip, header in opened["train"] if not header.reason]
        valid = corpus.hold_out(usable if len(usable) > 1 else [clip.path for clip, _ in opened["train"]])
        opened["valid"] = [(clip, header) for clip, header in opened["train"] if clip.path in valid]
        opened["train"] = [(clip, header) for clip, header in opened["train"] if clip.path not in valid]
    files: dict[str, Callable[[Path], None]] = {}
    summary, empty, replaced, num_rejected, num_undecodable = [], [], [], 0, 0
    first_reason = ""  # why a subset is empty
    pieces: Counter[str] = Counter()  # of each file that is cut
    for subset, clips in opened.items():
        paths, frames, labels, events, rejected = [], [], [], [], []
        for clip, header in clips:
            path, header = first_usable(root, clip, header, min_sec, min_rate)
            if header.reason:
                rejected.append((path, header.reason))
                continue
            lines = [(path, header.frames)]
            if corpus.cutting is not None:
                lines = cut(path, header.frames, header.rate, corpus.cutting, clip.part)
                if not lines:
                    rejected.append((path, f"too short to hold out its end: {header.frames / header.rate:.3f} s"))
                    continue
                if lines[0][0] != path:
                    pieces[path] += len(lines)
            for name, num_frames in lines:
                paths.append(name)
                frames.append(num_frames)
                if clip.labels is not None:
                    labels.append(clip.labels)
                if clip.events is not None:
                    events.append(clip.events)
            if path != clip.path:
                replaced.append(clip.path)
        num_rejected += len(rejected)
        num_undecodable += sum(not is_decodable(path) for path, _ in rejected)
        rejected += [(name, "missing: on the corpus's list, but not there") for name in corpus.missing.get(subset, [])]
        files[f"{subset}.rejected.tsv"] = partial(write_rejected, rejected=rejected)
        files[f"{subset}.tsv"] = partial(write_manifest, manifest=Manifest(root, paths, frames))
        if corpus.vocabulary is not None:
            files[f"{subset}.lbl"] = partial(write_labels, clips=labels)
        if events:
            files[f"{subset}.events"] = partial(write_events, clips=events)
        summary.append(f"{subset} {len(paths)}")
        if not paths:
            empty.append(subset)
            first_reason = first_reason or (f", for {rejected[0][0]}: {rejected[0][1]}" if rejected else "")
    if replaced:
        print(f"note: {len(replaced)} files cannot be used and a copy replaces them, {replaced[0]!r} first")
    if corpus.vocabulary is not None:
        files[LABELS_FILE] = partial(write_vocabulary, labels=corpus.vocabulary)
    # files of an earlier build that this one does not write would contradict it
    of_subsets = (f"{subset}{extension}" for subset in corpus.subsets for extension in (".lbl", ".events"))
    stale = {LABELS_FILE, MEL_STATS_FILE, *of_subsets} - set(files)
    write_together(out, files, stale)
    if empty:
        print(
            f"maskspec-build: no clip is left for {', '.join(empty)}; {out / empty[0]}.rejected.tsv says why"
            f"{first_reason}",
            file=sys.stderr,
        )
    enough = num_rejected <= max(max_rejected * len(names), 1 if max_rejected else 0)
    if not enough:
        print(f"maskspec-build: more than --max-rejected {max_rejected} of the files cannot be used", file=sys.stderr)
    listed = ", listed with the reason in *.rejected.tsv" if num_rejected else ""
    if num_undecodable:
        listed += f"; in no format of soundfile: {num_undecodable}, the ffmpeg commands listed there convert them"
    line = f"{out}: {', '.join(summary)} clips; rejected {num_rejected} of {len(names)} files{listed}"
    if pieces and corpus.cutting is not None:
        cut_files = f"cut from {len(pieces)} of the files"
        line += f"; {sum(pieces.values())} pieces of {corpus.cutting.sec:g} s, {cut_files}"
    return line, enough and not empty
