"""Scores of clips of 10 s by the base model, one and 16 at a time, against a ViT of timm of the same size on
torchaudio's Kaldi filter banks: `python -m benchmarks inference`.

Both take waveforms at 32 kHz and return logits of 527 classes, in float32 under `torch.inference_mode`. Ours is what
`maskspec_fairseq.load_model` returns, with its checks; its weights are random, which costs the same. The filter banks
of the peer are computed clip by clip, and cut to the same number of frames.
"""

import torch

from benchmarks.finetuning_step import CLASSES, base_vit
from benchmarks.front_end import kaldi_fbank
from benchmarks.steps import RATE, SECONDS, noise
from benchmarks.timing import Row, in_turns, rate_row
from maskspec_fairseq.data_dir.labels import Label
from maskspec_fairseq.inference.audio_model import AudioModel

ROUNDS = {1: 10, 16: 3}  # of each batch


@torch.inference_mode()
def rows() -> list[Row]:
    labels = [Label(str(number), str(number)) for number in range(CLASSES)]
    model = AudioModel({}, SECONDS, labels=labels, target_is_multilabel=True).eval()
    frames = model.network.front_end.num_frames(SECONDS * RATE)
    vit = base_vit((model.network.front_end.n_mels, frames)).eval()

    def theirs(waveform: torch.Tensor) -> torch.Tensor:
        return vit(kaldi_fbank(waveform)[:, :frames].transpose(1, 2)[:, None])

    found = []
    for batch, rounds in ROUNDS.items():
        waveform = noise(batch)
        ways = {"ours": lambda: model(waveform, RATE), "theirs": lambda: theirs(waveform)}  # noqa: B023
        work = f"inference, base, clips of {SECONDS} s, batch {batch}"
        peer = "timm ViT and Kaldi filter banks"
        seconds = in_turns(ways, rounds)
        found.append(rate_row(work, peer, "clips", batch, seconds["ours"], seconds["theirs"], "at least 1.2"))
    return found
