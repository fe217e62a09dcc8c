"""The front end on a batch of clips of 10 s at 32 kHz, against torchaudio's Kaldi filter banks on the same clips one by
one, and its share of a pretraining step: `python -m benchmarks front_end`.

Both sides use one thread, so clips per second are per core. Kaldi's features have 128 mel bins, a Hamming window of 32
ms and a shift of 10 ms, which is the front end's window of 1024 and hop of 320; the window is padded to a power of two,
so both have an FFT of 1024. Kaldi has pre-emphasis and subtracts the mean of every frame; ours normalises by
statistics.

The share is that of the base model's forward and backward pass on the same batch, without the optimizer, with torch's
threads.
"""

import numpy as np
import torch
from torchaudio.compliance import kaldi

from benchmarks.steps import RATE, SECONDS, noise
from benchmarks.timing import Row, in_turns, rate_row, time_row
from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.modules.losses import masked_spectrogram_loss
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder

BATCH = 8
KEYS = np.array([[1, 1, clip] for clip in range(BATCH)])  # (seed, epoch, clip)


def kaldi_fbank(waveform: torch.Tensor) -> torch.Tensor:
    """(B, T) -> (B, S, F), clip by clip, since torchaudio has no batches here."""
    settings = dict(num_mel_bins=128, frame_length=32.0, frame_shift=10.0, window_type="hamming", dither=0.0)
    return torch.stack([kaldi.fbank(clip[None], sample_frequency=RATE, **settings) for clip in waveform])


@torch.inference_mode()
def speed_row() -> Row:
    front_end, clips = LogMel("paper", RATE), noise(BATCH)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = in_turns(
            {"ours": lambda: front_end(clips), "theirs": lambda: kaldi_fbank(clips)}, rounds=15, warm_up=2
        )
    finally:
        torch.set_num_threads(threads)
    return rate_row(
        f"front end, a batch of {BATCH} clips of {SECONDS} s, one thread",
        "torchaudio.compliance.kaldi.fbank, one by one",
        "clips",
        BATCH,
        **seconds,
        target="at least 3",
        note="128 bins, 32 ms, 10 ms, FFT of 1024 on both sides",
    )


def share_row() -> Row:
    model, clips = MaskedAutoencoder(), noise(BATCH)

    def step() -> None:
        output = model(clips, clip_key=KEYS)
        loss, count = masked_spectrogram_loss(output["prediction"], output["target"], output["scored"])
        (loss / count).backward()
        model.zero_grad()

    seconds = in_turns({"ours": lambda: model.front_end(clips), "theirs": step}, rounds=2)
    return time_row(
        f"front end, {BATCH} clips of {SECONDS} s",
        "a pretraining step of the base model that it is in",
        **seconds,
        target="at most 0.05",
        note=f"forward and backward, {torch.get_num_threads()} threads",
    )


def rows() -> list[Row]:
    return [speed_row(), share_row()]
