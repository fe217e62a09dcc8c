"""Decode and resample the audio of a corpus once, into 16-bit wavs in the same folders below OUT.

Training decodes each clip hundreds of times, and for a small model the decoding of an ogg at 44.1 kHz takes longer than
its training step. Files that are in OUT already are skipped, so the same command resumes. Lists and tables of the
corpus are not copied.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from maskspec_fairseq.argument_types import int_at_least
from maskspec_fairseq.atomic_write import write_whole
from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import open_audio, read_audio
from maskspec_fairseq.corpora.builder import find_audio
from maskspec_fairseq.data_dir import ManifestError

LOUD = 2.0  # times full scale; what is decoded from ogg or mp3 may be a little above 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="directory of audio files")
    parser.add_argument("out", type=Path, metavar="OUT", help="where the wavs go")
    parser.add_argument("--sample-rate", type=int_at_least(1), default=32000, help="Hz (default: 32000)")


def is_resampled(wav: Path, sample_rate: int) -> bool:
    """Whether a file of OUT exists.

    Raises:
        ManifestError: it has another sample rate.
        AudioError: it cannot be read.
    """
    if not wav.exists():
        return False
    with open_audio(str(wav)) as file:
        if file.samplerate != sample_rate:
            raise ManifestError(
                f"{wav}: expected a file at {sample_rate} Hz, as an earlier run of this command wrote it, found "
                f"{file.samplerate} Hz; name another OUT"
            )
    return True


def resample(source: Path, wav: Path, sample_rate: int) -> None:
    """Write a file as a 16-bit wav at another sample rate, with all of its channels, completely or not at all.

    Samples beyond full scale, which floats can hold and 16 bits cannot, are cut off; a note names a file with a peak
    above `LOUD`.

    Raises:
        AudioError: the file cannot be decoded, see `audio.read.read_audio`.
    """
    audio, rate = read_audio(str(source))  # (T, C)
    samples: np.ndarray = soxr.resample(audio, rate, sample_rate)
    peak = float(np.abs(audio).max(initial=0))
    if peak > LOUD:
        print(f"note: {source} has samples up to {peak:.4g} times full scale; 16 bits hold 1, what is above is cut off")

    def write(path: Path) -> None:
        soundfile.write(path, samples, sample_rate, subtype="PCM_16")

    write_whole(wav, write)


def run(args: argparse.Namespace) -> int:
    """Resample every file that is not in OUT yet.

    Returns:
        0, or 2 if a file could not be decoded.

    Raises:
        ManifestError: there is no audio, OUT is CORPUS or below it, two files would become the same wav, or OUT has
            files at another rate.
    """
    if args.corpus.resolve() in (args.out.resolve(), *args.out.resolve().parents):
        raise ManifestError(f"expected OUT outside of CORPUS, found {args.out}; name another OUT")
    sources: dict[str, str] = {}  # path below OUT -> path below CORPUS
    for path in find_audio(args.corpus):
        wav = str(Path(path).with_suffix(".wav"))
        if wav in sources:
            raise ManifestError(
                f"{args.corpus}: expected names that differ without their extensions, found {sources[wav]!r} and "
                f"{path!r}; rename one of them"
            )
        sources[wav] = path
    written, skipped, failed = 0, 0, 0
    for wav, path in tqdm(sources.items(), unit="file", desc="resampled", file=sys.stderr):
        try:
            if is_resampled(args.out / wav, args.sample_rate):
                skipped += 1
                continue
            resample(args.corpus / path, args.out / wav, args.sample_rate)
            written += 1
        except AudioError as error:
            print(f"maskspec-build: left out: {error}", file=sys.stderr)
            failed += 1
    print(f"{args.out}: {written} files at {args.sample_rate} Hz written, {skipped} there already, {failed} left out")
    return 2 if failed else 0
