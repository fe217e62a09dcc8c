"""The dataset of every recipe: clips of a manifest as waveforms of one length.

Shapes: B batch, T samples.
"""

from dataclasses import dataclass
from typing import Any, Optional, Union

import numpy as np
import torch
from fairseq.data import FairseqDataset
from torch.utils.data import default_collate

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import CHANNELS, Crop, clip_samples, crop_waveform, load_clip, load_crop
from maskspec_fairseq.clip_rng import CROP, REPLACEMENT, clip_rng
from maskspec_fairseq.data.clip_targets import ClipTargets
from maskspec_fairseq.data.frame_targets import Frames, FrameTargets, mix_frames
from maskspec_fairseq.data.waveform_augmentation import LabelledClip, MixPlan, WaveformAugmentation
from maskspec_fairseq.data.weighted_sampling import draw
from maskspec_fairseq.data_dir.manifest import Manifest
from maskspec_fairseq.modules.float32_bits import to_bits

ON_BAD_AUDIO = ("raise", "skip")
MAX_REPLACEMENTS = 10
CROPS_TOGETHER = 4  # more would be decoded for less, but make batches of fewer files


@dataclass
class LoadedClip:
    """A clip of the manifest, or the one that replaces it.

    waveform: float32 (T,).
    num_samples: its samples before the padding.
    source: the line of the manifest that it was read from, which is not the requested one if that could not be read.
    bad_audio: a message for every file that could not be read.
    start: its first frame in the file.
    rate: of the file, Hz.
    """

    waveform: np.ndarray
    num_samples: int
    source: int
    bad_audio: list[str]
    start: int
    rate: int


def _labelled(clip: LoadedClip, targets: ClipTargets) -> LabelledClip:
    """A clip with the labels of what is heard, which is another clip where it was replaced."""
    return LabelledClip(clip.waveform, *targets[clip.source])


class AudioDataset(FairseqDataset):
    """Clips of a manifest, decoded on access.

    The result depends on (seed, epoch, index) alone. In training, longer clips are cropped at random and the order is
    new in every epoch; otherwise clips are cropped to their beginning and the order is the manifest's.

    Args:
        manifest: the clips.
        sample_rate: Hz, to which every file is resampled.
        clip_sec: s, to which every clip is cropped or padded.
        channel: see `maskspec_fairseq.audio.read.mix_down`.
        seed: base of all random numbers.
        training: whether this is the training subset.
        on_bad_audio: "raise", or "skip" to replace a clip that cannot be read by another one, drawn from the first
            one's key (in training only: without some of its clips a validation would not be comparable).
        targets: the clips' labels, for finetuning.
        augmentation: applied to labelled clips in training.
        sampling_weights: (N,), weights by which the clips of an epoch are drawn in training; None: every clip, once.
        num_draws: number of clips per epoch that are drawn by the weights.
        frames: the targets of the clips' columns of patches, for a head of frames.
        crops_per_file: K: in training, an epoch has K clips of each line of the manifest, without labels. Up to
            `CROPS_TOGETHER` of them follow one another, and the line is decoded once for these, as a whole.

    Raises:
        ValueError: unknown channel or on_bad_audio, clip_sec not above 0, or crops_per_file below 1.
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
        targets: Optional[ClipTargets] = None,
        augmentation: Optional[WaveformAugmentation] = None,
        sampling_weights: Optional[np.ndarray] = None,
        num_draws: int = 0,
        frames: Optional[FrameTargets] = None,
        crops_per_file: int = 1,
    ) -> None:
        super().__init__()
        if channel not in CHANNELS:
            raise ValueError(f"expected task.channel out of {CHANNELS}, found {channel!r}")
        if on_bad_audio not in ON_BAD_AUDIO:
            raise ValueError(f"expected task.on_bad_audio out of {ON_BAD_AUDIO}, found {on_bad_audio!r}")
        if clip_sec <= 0:
            raise ValueError(f"expected task.clip_sec above 0, found {clip_sec}")
        if crops_per_file < 1:
            raise ValueError(f"expected task.crops_per_file of at least 1, found {crops_per_file}")
        self.manifest = manifest
        self.sample_rate = sample_rate
        self.clip_sec = clip_sec
        self.channel = channel
        self.seed = seed
        self.training = training
        self.on_bad_audio = on_bad_audio
        self.targets = targets
        self.augmentation = augmentation if augmentation and training else WaveformAugmentation()
        self.sampling_weights = sampling_weights if training else None
        self.num_draws = num_draws
        self.frames = frames
        self.crops_per_file = crops_per_file if training else 1
        self.epoch = 1
        self._drawn: Optional[np.ndarray] = None
        self._decoded: tuple[int, np.ndarray] = (-1, np.empty(0))  # the last line, for its other crops

    def __len__(self) -> int:
        return len(self.manifest) * self.crops_per_file

    def line(self, index: int) -> int:
        """The line of the manifest that a clip is of, from 0."""
        return index // self.crops_per_file

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = int(index)
        key = self._clip_key(index)
        if self.targets is None:
            loaded = self._load(index)
            return {
                "id": index,
                "waveform": torch.from_numpy(loaded.waveform),
                "num_samples": loaded.num_samples,
                "clip_key": key,
                "bad_audio": loaded.bad_audio,
                "replaced": bool(loaded.bad_audio),
            }
        plan = self.augmentation.plan(key, self._clips_of_the_epoch())
        clip = self._load(index)
        partners = [
            None if partner is None else self._load(partner) for partner in (plan.wave_partner, plan.spec_partner)
        ]
        mixed = self.augmentation.apply(
            key,
            plan,
            self.sample_rate,
            _labelled(clip, self.targets),
            *(None if partner is None else _labelled(partner, self.targets) for partner in partners),
        )
        item = {
            "id": index,
            "waveform": torch.from_numpy(mixed.clip.waveform),
            "num_samples": clip.num_samples,
            "clip_key": key,
            "bad_audio": [message for loaded in (clip, *partners) if loaded for message in loaded.bad_audio],
            "replaced": bool(clip.bad_audio),
            "target": mixed.clip.target,
            "known": mixed.clip.known,
            "mix_waveform": None if mixed.second is None else torch.from_numpy(mixed.second),
            "mix_ratio": mixed.ratio,
        }
        if self.frames is not None:
            item["frame_target"], item["frame_known"] = self._frames_of(key, plan, clip, *partners)
        return item

    def _frames_of(
        self,
        key: list[int],
        plan: MixPlan,
        clip: LoadedClip,
        wave_partner: Optional[LoadedClip],
        spec_partner: Optional[LoadedClip],
    ) -> Frames:
        """The targets of the columns of a clip, mixed and rolled as `WaveformAugmentation.apply` does with it."""
        assert self.frames is not None
        shift = self.augmentation.shift(key, self.sample_rate)
        first, second = (
            None if loaded is None else self.frames.of(loaded.source, loaded.start, loaded.rate, shift)
            for loaded in (clip, wave_partner)
        )
        assert first is not None
        mixed = mix_frames(first, second, plan.wave_ratio)
        if spec_partner is None or plan.spec_partner is None:
            return mixed
        shift = self.augmentation.shift([*key[:2], plan.spec_partner], self.sample_rate)
        third = self.frames.of(spec_partner.source, spec_partner.start, spec_partner.rate, shift)
        return mix_frames(mixed, third, plan.spec_ratio)

    def _load(self, index: int) -> LoadedClip:
        key = self._clip_key(index)
        crop_rng = clip_rng(key, CROP) if self.training else None
        bad_audio: list[str] = []
        while True:
            source = self.line(index) if not bad_audio else self._replacement(key, len(bad_audio))
            try:
                crop = self._crop(source, crop_rng)
                return LoadedClip(crop.waveform, crop.num_samples, source, bad_audio, crop.start, crop.rate)
            except AudioError as error:
                bad_audio.append(str(error))
                if not self.training or self.on_bad_audio == "raise" or len(bad_audio) > MAX_REPLACEMENTS:
                    raise

    def _crop(self, line: int, rng: Optional[np.random.Generator]) -> Crop:
        path = self.manifest.full_path(line)
        if self.crops_per_file == 1:
            return load_crop(path, self.sample_rate, self.clip_sec, self.channel, rng)
        if self._decoded[0] != line:
            self._decoded = line, load_clip(path, self.sample_rate, None, self.channel)[0]
        return crop_waveform(self._decoded[1], self.sample_rate, self.clip_sec, rng)

    def collater(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Make a `sample`:

        id: int64 (B,), numbers of clips, from 0; `line` gives those of their lines in the manifest.
        net_input:
            waveform: int32 (B, T), the bits of float32 samples (see `modules/float32_bits.py`).
            clip_key: int64 (B, 3) numpy, (seed, epoch, index); stays on the host, where masks are drawn.
            num_samples: int64 (B,), samples before the padding; only without labels.
            mix_waveform, mix_ratio: int32 (B, T) and float64 (B,); only where log-mels are mixed.
        nsentences: B.
        ntokens: number of audio samples, padding not counted.
        bad_audio: a message for every file that was replaced.
        replaced: number of clips that were replaced by another one (clips that are mixed in are not counted).
        target, known: float64 (B, C) from 0 to 1 (which `common.fp16` does not convert), and bool (B, C); only with
            labels.
        frame_target, frame_known: the same of the columns of patches, (B, M, C); only with events.

        A GPU whose share of an epoch is one batch short gets no items: a clip of nothing but padding, of which nothing
        is scored, takes their place. (fairseq itself, given an empty sample, drops the sample size of every batch
        before it in the same update, so that with `update_freq` above 1 the last gradient of an epoch is too large.)
        """
        if not items:
            nothing = self.collater([self._padding()])
            return {**nothing, "id": nothing["id"][:0], "nsentences": 0}
        num_samples = [item["num_samples"] for item in items]
        net_input = {
            # in a loader process straight into shared memory, to which torch would copy what `torch.stack` makes
            "waveform": to_bits(default_collate([item["waveform"] for item in items])),
            "clip_key": np.array([item["clip_key"] for item in items], dtype=np.int64),
        }
        sample = {
            "id": torch.tensor([item["id"] for item in items]),
            "net_input": net_input,
            "nsentences": len(items),
            "ntokens": sum(num_samples),
            "bad_audio": [message for item in items for message in item["bad_audio"]],
            "replaced": sum(item["replaced"] for item in items),
        }
        if self.targets is None:
            net_input["num_samples"] = torch.tensor(num_samples)
            return sample
        sample["target"] = torch.from_numpy(np.stack([item["target"] for item in items])).double()
        sample["known"] = torch.from_numpy(np.stack([item["known"] for item in items]))
        if self.frames is not None:
            sample["frame_target"] = torch.from_numpy(np.stack([item["frame_target"] for item in items])).double()
            sample["frame_known"] = torch.from_numpy(np.stack([item["frame_known"] for item in items]))
        if items[0]["mix_waveform"] is not None:
            net_input["mix_waveform"] = to_bits(default_collate([item["mix_waveform"] for item in items]))
            net_input["mix_ratio"] = torch.tensor([item["mix_ratio"] for item in items], dtype=torch.float64)
        return sample

    def num_tokens(self, index: int) -> int:
        """Samples per clip, T; the same for all."""
        return clip_samples(self.clip_sec, self.sample_rate)

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        return np.full(len(indices), self.num_tokens(0))

    def size(self, index: int) -> int:
        return self.num_tokens(index)

    def ordered_indices(self) -> np.ndarray:
        """The clips of the current epoch in their order, int64 (N,), or (num_draws,) with sampling weights."""
        if not self.training:
            return np.arange(len(self))
        if self.sampling_weights is not None:
            return np.asarray(self._clips_of_the_epoch())
        together = min(self.crops_per_file, CROPS_TOGETHER)
        clips = np.arange(len(self)).reshape(-1, self.crops_per_file)
        padded = np.pad(clips, ((0, 0), (0, -self.crops_per_file % together)), constant_values=-1)
        order = np.random.default_rng([self.seed, self.epoch]).permutation(padded.reshape(-1, together)).reshape(-1)
        return order[order >= 0]

    def batch_by_size(self, indices, max_tokens=None, max_sentences=None, required_batch_size_multiple=1):
        """fairseq's batches of every clip: `dataset.required_batch_size_multiple` makes ve-fairseq drop some."""
        return super().batch_by_size(indices, max_tokens, max_sentences, required_batch_size_multiple=1)

    def set_epoch(self, epoch: int) -> None:
        if epoch != self.epoch:
            self._drawn = None
        self.epoch = epoch

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        # A reused iterator keeps its batches, and its workers keep the epoch that they were started in.
        return not self.training

    def _clips_of_the_epoch(self) -> Union[range, np.ndarray]:
        """All clips, or those drawn by the weights; computed once, before the loader processes are forked."""
        if self.sampling_weights is None:
            return range(len(self))
        if self._drawn is None:
            self._drawn = draw(self.sampling_weights, self.num_draws, self.seed, self.epoch)
        return self._drawn

    def _padding(self) -> dict[str, Any]:
        item = {
            "id": 0,
            "waveform": torch.zeros(self.num_tokens(0)),
            "num_samples": 0,
            "clip_key": self._clip_key(0),
            "bad_audio": [],
            "replaced": False,
        }
        if self.targets is not None:
            nothing = np.zeros(self.targets.num_classes, dtype=np.float32)
            item.update(target=nothing, known=nothing.astype(bool), mix_waveform=None)
        if self.frames is not None:
            item["frame_target"], item["frame_known"] = self.frames.nothing()
        return item

    def _clip_key(self, index: int) -> list[int]:
        return [self.seed, self.epoch if self.training else 0, index]

    def _replacement(self, key: list[int], attempt: int) -> int:
        """A line other than that of the key's clip; the last of `attempt` draws."""
        lines = len(self.manifest)
        step = clip_rng(key, REPLACEMENT).integers(1, max(2, lines), size=attempt)[-1]
        return int((self.line(key[2]) + step) % lines)
