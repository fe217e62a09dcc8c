"""A file of any length as windows of samples, with a block of it in memory at a time.

Shapes: T samples at the wanted rate, W samples of a window.
"""

from typing import Iterable, Iterator, NamedTuple, Optional

import numpy as np
import soundfile
import soxr

from maskspec_fairseq.data.audio import AudioError, expect_sound, length_slack, mix_down, open_audio

BLOCK_FRAMES = 1 << 16  # that are decoded together


class Window(NamedTuple):
    """Samples of a waveform, float32 (W,), and where in it they start."""

    start: int
    samples: np.ndarray

    @property
    def end(self) -> int:
        return self.start + len(self.samples)


def stream_clip(
    path: str, sample_rate: int, channel: str = "mix", block_frames: int = BLOCK_FRAMES
) -> Iterator[np.ndarray]:
    """The waveform that `load_clip` gives of a whole file, piece by piece.

    The samples are the same bit by bit: neither soxr nor the decoder minds how its input is divided.

    Args:
        sample_rate: of the result, Hz.
        channel: see `mix_down`.
        block_frames: that are decoded together.

    Yields:
        float32, T samples in all.

    Raises:
        AudioError: see `load_clip`. What is wrong at the end of a file is found when the pieces before it are out.
    """
    with open_audio(path) as file:
        total, rate, found, length = file.frames, file.samplerate, 0, 0
        if total == 0:
            raise AudioError(f"{path}: expected audio, found a file of 0 frames")
        resampler = soxr.ResampleStream(rate, sample_rate, 1, quality="HQ") if rate != sample_rate else None
        while True:
            try:
                audio = file.read(min(block_frames, total - found), dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, OSError, MemoryError, ValueError) as error:
                raise AudioError(f"{path}: expected audio that soundfile decodes, found: {error}") from error
            last = not len(audio)
            if last and found < max(1, total - length_slack(file)):
                raise AudioError(f"{path}: expected {total} frames, found {found}; is the file cut off?")
            if not last:
                expect_sound(path, audio)
            found += len(audio)
            piece = np.ascontiguousarray(mix_down(audio, channel))
            if resampler is not None:
                piece = resampler.resample_chunk(piece, last=last)
            length += len(piece)
            if len(piece):
                yield piece
            if last:
                break
    if not length:
        raise AudioError(f"{path}: expected a sample at {sample_rate} Hz at least, found {found} at {rate} Hz")


def cut(pieces: Iterable[np.ndarray], size: int, hop: int) -> Iterator[Window]:
    """Windows of a waveform, one every `hop` samples, up to the first that reaches its end, which may be shorter.

    Args:
        pieces: of the waveform, float32.
        size: W.
        hop: from one start to the next, up to `size`.
    """
    start, waiting = 0, np.zeros(0, dtype=np.float32)
    for piece in pieces:
        waiting = np.concatenate([waiting, piece])
        while len(waiting) > size:  # there is more behind the window: it is not the last
            yield Window(start, waiting[:size])
            start, waiting = start + hop, waiting[hop:]
    yield Window(start, waiting)


def cut_evenly(pieces: Iterable[np.ndarray], size: int) -> Iterator[Window]:
    """The windows of `data.windows.windows` with a hop of `size`: the last one is whole and ends with the waveform.

    A waveform shorter than a window comes as it is, without padding.
    """
    before: Optional[Window] = None
    for window in cut(pieces, size, size):
        if before is not None and len(window.samples) < size:
            samples = np.concatenate([before.samples, window.samples])[-size:]
            window = Window(window.end - size, samples)
        yield window
        before = window
