"""A file of any length, decoded and resampled block by block, with one block in memory at a time.

Shapes: T samples at the given rate.
"""

from collections.abc import Iterator

import numpy as np
import soundfile
import soxr

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import check_sound, mix_down, open_audio

BLOCK_FRAMES = 1 << 16  # decoded at a time


def stream_clip(
    path: str, sample_rate: int, channel: str = "mix", block_frames: int = BLOCK_FRAMES
) -> Iterator[np.ndarray]:
    """The waveform that `load_clip` returns for a whole file, piece by piece.

    The samples are bit-identical: the results of soxr and of the decoder do not depend on how the input is split.

    Args:
        sample_rate: of the result, Hz.
        channel: see `mix_down`.
        block_frames: how many frames are decoded at a time.

    Yields:
        float32 pieces, T samples in total.

    Raises:
        AudioError: see `load_clip`. A defect at the end of a file is found only after the pieces before it were
            yielded.
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
            if last and found < max(1, total - file.length_slack):
                raise AudioError(f"{path}: expected {total} frames, found {found}; is the file cut off?")
            if not last:
                check_sound(path, audio)
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
