"""The dataset of every recipe: clips of a manifest as waveforms of one length.

Shapes: B batch, T samples.
"""

from typing import Any, Dict, List

import numpy as np
import torch
from fairseq.data import FairseqDataset

from maskspec_fairseq.data.audio import CHANNELS, AudioError, clip_samples, load_clip
from maskspec_fairseq.manifest import Manifest
from maskspec_fairseq.modules.bit_pattern import float32_to_bits
from maskspec_fairseq.modules.clip_rng import CROP, REPLACEMENT, clip_rng

ON_BAD_AUDIO = ("raise", "skip")
MAX_REPLACEMENTS = 10


class AudioDataset(FairseqDataset):
    """Clips of a manifest, decoded when they are asked for.

    What a clip becomes depends on (seed, epoch, index) alone. In training a longer clip is cropped at random and
    clips come in a new random order every epoch; otherwise the beginning is taken and the order is the manifest's.

    Args:
        sample_rate: Hz, to which every file is resampled.
        clip_sec: s, to which every clip is cropped or padded.
        channel: see `maskspec_fairseq.data.audio.mix_down`.
        training: whether this is the training subset.
        on_bad_audio: "raise", or "skip" to put another clip, drawn from the first one's key, in place of one that
            cannot be read (training only: a validation without some of its clips is another validation).
    """

    def __init__(
        self,
        manifest: Manifest,
        sample_rate: int,
        clip_sec: float,
        channel: str = "mix",
        seed: int = 1,
        training: bool = False,
        on_bad_audio: str = "raise",
    ) -> None:
        super().__init__()
        if channel not in CHANNELS:
            raise ValueError(f"expected task.channel out of {CHANNELS}, found {channel!r}")
        if on_bad_audio not in ON_BAD_AUDIO:
            raise ValueError(f"expected task.on_bad_audio out of {ON_BAD_AUDIO}, found {on_bad_audio!r}")
        if clip_sec <= 0:
            raise ValueError(f"expected task.clip_sec above 0, found {clip_sec}")
        self.manifest = manifest
        self.sample_rate = sample_rate
        self.clip_sec = clip_sec
        self.channel = channel
        self.seed = seed
        self.training = training
        self.on_bad_audio = on_bad_audio
        self.epoch = 1

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, index: int) -> Dict[str, Any]:
        index = int(index)
        key = self._clip_key(index)
        bad_audio: List[str] = []
        while True:
            source = index if not bad_audio else self._replacement(key, len(bad_audio))
            crop_rng = clip_rng(key, CROP) if self.training else None
            try:
                waveform, num_samples = load_clip(
                    self.manifest.full_path(source), self.sample_rate, self.clip_sec, self.channel, crop_rng
                )
                break
            except AudioError as error:
                bad_audio.append(str(error))
                if not self.training or self.on_bad_audio == "raise" or len(bad_audio) > MAX_REPLACEMENTS:
                    raise
        return {
            "id": index,
            "waveform": torch.from_numpy(waveform),
            "num_samples": num_samples,
            "clip_key": key,
            "bad_audio": bad_audio,
        }

    def collater(self, items: List[Dict[str, Any]]) -> Dict[str, Any]:
        """Make a `sample`:

        id: int64 (B,), lines of the manifest, from 0.
        net_input:
            waveform: int32 (B, T), the bits of float32 samples (see `modules/bit_pattern.py`).
            num_samples: int64 (B,), samples before the padding.
            clip_key: int64 (B, 3) numpy, (seed, epoch, index); stays on the host, where masks are drawn.
        nsentences: B.
        ntokens: samples of audio, padding not counted.
        bad_audio: a message for every file that was replaced.
        replaced: how many of the clips are in another one's place.

        A GPU whose share of an epoch is a batch short gets no items: one clip that is all padding, of which nothing is
        scored, takes their place. (fairseq's own answer to an empty sample drops the sample size of every batch
        before it in the same update, so that with `update_freq` above 1 the last gradient of an epoch is too large.)
        """
        if not items:
            nothing = self.collater([self._padding()])
            return {**nothing, "id": nothing["id"][:0], "nsentences": 0}
        num_samples = [item["num_samples"] for item in items]
        return {
            "id": torch.tensor([item["id"] for item in items]),
            "net_input": {
                "waveform": float32_to_bits(torch.stack([item["waveform"] for item in items])),
                "num_samples": torch.tensor(num_samples),
                "clip_key": np.array([item["clip_key"] for item in items], dtype=np.int64),
            },
            "nsentences": len(items),
            "ntokens": sum(num_samples),
            "bad_audio": [message for item in items for message in item["bad_audio"]],
            "replaced": sum(1 for item in items if item["bad_audio"]),
        }

    def num_tokens(self, index: int) -> int:
        return clip_samples(self.clip_sec, self.sample_rate)

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        return np.full(len(indices), self.num_tokens(0))

    def size(self, index: int) -> int:
        return self.num_tokens(index)

    def ordered_indices(self) -> np.ndarray:
        if not self.training:
            return np.arange(len(self))
        return np.random.default_rng([self.seed, self.epoch]).permutation(len(self))

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        # A reused iterator keeps its batches, and its workers keep the epoch that they were started in.
        return not self.training

    def _padding(self) -> Dict[str, Any]:
        waveform = torch.zeros(clip_samples(self.clip_sec, self.sample_rate))
        return {"id": 0, "waveform": waveform, "num_samples": 0, "clip_key": self._clip_key(0), "bad_audio": []}

    def _clip_key(self, index: int) -> List[int]:
        return [self.seed, self.epoch if self.training else 0, index]

    def _replacement(self, key: List[int], attempt: int) -> int:
        """Another clip than the one of the key."""
        step = clip_rng(key, REPLACEMENT).integers(1, max(2, len(self)), size=attempt)[-1]
        return int((key[2] + step) % len(self))
