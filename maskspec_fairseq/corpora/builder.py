"""From the files of a corpus to the manifests of a data directory."""

import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from tqdm import tqdm

from maskspec_fairseq.atomic_write import write_together
from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import open_audio
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import LABELS_FILE, ClipLabels, Label, write_labels, write_vocabulary
from maskspec_fairseq.data_dir.lines import problem_of_text
from maskspec_fairseq.data_dir.manifest import Manifest, problem_of_path, write_manifest, write_rejected
from maskspec_fairseq.data_dir.mel_stats import MEL_STATS_FILE

EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3")
CHUNK = 64


@dataclass
class Clip:
    """A file below the corpus's root, with its labels where the corpus has any, and further copies of it."""

    path: str
    labels: Optional[ClipLabels] = None
    copies: Sequence[str] = ()


@dataclass
class Corpus:
    """What a corpus module collects: files, not yet opened, sorted into subsets, and what its lists name besides."""

    root: Path
    subsets: Dict[str, List[Clip]]
    vocabulary: Optional[List[Label]] = None
    missing: Dict[str, List[str]] = field(default_factory=dict)


def find_audio(directory: Path) -> List[str]:
    """Paths of the audio files below a directory, relative to it, sorted; hidden ones are passed over.

    Links are followed. One that leads nowhere is among the paths, for there may be audio behind it; without a header it
    ends up among the rejected ones.

    Raises:
        ManifestError: no such directory, one below it that cannot be read, or no audio in it.
    """
    if not directory.is_dir():
        raise ManifestError(f"expected a directory of audio, found none at {directory}")

    def refuse(error: OSError):
        raise ManifestError(
            f"expected a directory that can be read, found {error.filename}: {error.strerror}; "
            "make it readable, or move it out of the corpus"
        ) from error

    found, visited = [], set()
    for folder, folders, files in os.walk(directory, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:  # a link to a folder above it
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = os.path.relpath(folder, directory)
        found += [
            os.path.normpath(os.path.join(relative, name))
            for name in files
            if not name.startswith(".")
            and (name.lower().endswith(EXTENSIONS) or not os.path.exists(os.path.join(folder, name)))
        ]
    if not found:
        raise ManifestError(f"expected {', '.join(EXTENSIONS)} files below {directory}, found none")
    return sorted(found)


def resolve_root(root: Path) -> str:
    """Line 1 of a manifest.

    Raises:
        ManifestError: a manifest cannot hold it.
    """
    resolved = str(root.resolve())
    problem = "holds a tab" if "\t" in resolved else problem_of_text(resolved)
    if problem:
        raise ManifestError(f"the directory of the audio, {resolved!r}: the path {problem}; rename it")
    return resolved


def read_header(job: Tuple[str, str, float]) -> Tuple[int, str]:
    """(root, path, shortest length in s) -> number of frames, or 0 and the reason why the file is rejected."""
    root, path, min_sec = job
    problem = problem_of_path(path)
    if problem:
        return 0, f"the path {problem}"
    try:
        with open_audio(os.path.join(root, path)) as file:
            frames, rate = file.frames, file.samplerate
    except AudioError as error:
        return 0, f"unreadable: {error}"
    if frames <= 0:
        return 0, "empty: 0 frames"
    if frames < min_sec * rate:
        return 0, f"too short: {frames / rate:.3f} s"
    return frames, ""


def first_whole(root: str, clip: Clip, header: Tuple[int, str], min_sec: float) -> Tuple[str, int, str]:
    """Path, frames and "" of a clip, or of the first of its copies that can be used; else the clip's own reason."""
    frames, reason = header
    for copy in clip.copies if reason else ():
        frames_of_copy, reason_of_copy = read_header((root, copy, min_sec))
        if not reason_of_copy:
            return copy, frames_of_copy, ""
    return clip.path, frames, reason


def read_headers(root: str, paths: Sequence[str], min_sec: float, workers: Optional[int]) -> List[Tuple[int, str]]:
    """`read_header` of every path, in order, in parallel, with a progress bar."""
    return in_parallel(read_header, [(root, path, min_sec) for path in paths], workers)


def in_parallel(read: Callable, jobs: Sequence, workers: Optional[int], desc: str = "headers") -> List:
    """`read` of every job, in order, by several processes, with a progress bar."""
    with multiprocessing.Pool(workers, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)) as pool:
        results = pool.imap(read, jobs, chunksize=CHUNK)
        return list(tqdm(results, total=len(jobs), unit="file", desc=desc, file=sys.stderr))


def write_corpus(
    corpus: Corpus, out: Path, min_sec: float, max_rejected: float, workers: Optional[int] = None
) -> Tuple[str, bool]:
    """Read the headers and write the data directory.

    Returns:
        What was done, in a line, and whether enough of the files can be used.

    Raises:
        ManifestError: a directory or a class whose name the data directory cannot hold.
    """
    root = resolve_root(corpus.root)
    for label in corpus.vocabulary or ():
        problem = problem_of_text(label.name)
        if problem:
            raise ManifestError(
                f"expected a class whose name is text, found {label.name!r}, which {problem}; rename it"
            )
    names = [clip.path for clips in corpus.subsets.values() for clip in clips]
    headers = iter(read_headers(root, names, min_sec, workers))
    files, summary, num_rejected, empty, replaced = {}, [], 0, [], []
    for subset, clips in corpus.subsets.items():
        kept, rejected = [], []
        for clip, header in zip(clips, headers):
            path, frames, reason = first_whole(root, clip, header, min_sec)
            if reason:
                rejected.append((path, reason))
            else:
                kept.append((path, frames, clip.labels))
                replaced += [clip.path] if path != clip.path else []
        num_rejected += len(rejected)
        rejected += [(name, "missing: on the corpus's list, but not there") for name in corpus.missing.get(subset, [])]
        manifest = Manifest(root, [path for path, _, _ in kept], [frames for _, frames, _ in kept])
        files[f"{subset}.rejected.tsv"] = lambda path, rejected=rejected: write_rejected(path, rejected)
        files[f"{subset}.tsv"] = lambda path, manifest=manifest: write_manifest(path, manifest)
        if corpus.vocabulary is not None:
            labels = [labels for _, _, labels in kept]
            files[f"{subset}.lbl"] = lambda path, labels=labels: write_labels(path, labels)
        summary.append(f"{subset} {len(kept)}")
        empty += [] if kept else [subset]
    if replaced:
        print(f"note: {len(replaced)} files cannot be used and a copy stands in, that of {replaced[0]!r} first")
    if corpus.vocabulary is not None:
        files[LABELS_FILE] = lambda path: write_vocabulary(path, corpus.vocabulary)
    # What an earlier build left and this one does not write would contradict it.
    stale = {LABELS_FILE, MEL_STATS_FILE, *(f"{subset}.lbl" for subset in corpus.subsets)} - set(files)
    write_together(out, files, stale)
    if empty:
        print(f"maskspec-build: no clip is left for {', '.join(empty)}", file=sys.stderr)
    enough = num_rejected <= max_rejected * len(names)
    if not enough:
        print(f"maskspec-build: more than --max-rejected {max_rejected} of the files cannot be used", file=sys.stderr)
    listed = ", listed with the reason in *.rejected.tsv" if num_rejected else ""
    return (
        f"{out}: {', '.join(summary)} clips; rejected {num_rejected} of {len(names)} files{listed}",
        enough and not empty,
    )
