"""What finetuning does to a clip's waveform and targets before the model sees them.

Every draw depends on (seed, epoch, clip) alone. Source: MaskSpec, arXiv:2204.12768, section 3.2 (mixup, rolling).

Shapes: T samples, C classes.
"""

from dataclasses import dataclass, replace
from typing import Callable, Optional, Sequence, Tuple

import numpy as np

from maskspec_fairseq.modules.augmentation import change_gain, mix_targets, mix_waveforms, mixup_ratio, roll
from maskspec_fairseq.modules.clip_rng import GAIN, MIX_SPECTROGRAM, MIX_WAVEFORM, ROLL, clip_rng


@dataclass
class LabelledClip:
    """A waveform, float32 (T,), its target, float32 (C,), and bool (C,), whether the target is known."""

    waveform: np.ndarray
    target: np.ndarray
    known: np.ndarray


@dataclass
class MixedClip:
    """A clip, and the one that its log-mel is to be mixed with: ratio * first + (1 - ratio) * second."""

    clip: LabelledClip
    second: Optional[np.ndarray] = None
    ratio: float = 1.0


@dataclass
class WaveformAugmentation:
    """The strengths, each 0 for none.

    Args:
        wave_mixup: chance that a waveform is mixed with another one's.
        wave_mixup_alpha: of the Beta distribution that the ratio is drawn from.
        spec_mixup_alpha: of the Beta distribution for the mixing of log-mels, which every clip undergoes.
        roll_sec: s, the most that a clip is rolled over time, either way.
        gain_db: the most that a clip is made louder or softer.
    """

    wave_mixup: float = 0.0
    wave_mixup_alpha: float = 2.0
    spec_mixup_alpha: float = 0.0
    roll_sec: float = 0.0
    gain_db: float = 0.0

    def apply(
        self, key: Sequence[int], candidates: Sequence[int], sample_rate: int, load: Callable[[int], LabelledClip]
    ) -> MixedClip:
        """Load the clip of a key and change it.

        Args:
            key: (seed, epoch, clip).
            candidates: the clips of the epoch, from which those to be mixed in are drawn.
            load: a clip by its index.
        """
        clip = load(key[2])
        if self.wave_mixup:
            rng = clip_rng(key, MIX_WAVEFORM)
            if rng.random() < self.wave_mixup:
                ratio = mixup_ratio(rng, self.wave_mixup_alpha)
                partner = load(_another(rng, key[2], candidates))
                clip = LabelledClip(
                    mix_waveforms(clip.waveform, partner.waveform, ratio), *_mixed_targets(clip, partner, ratio)
                )
        clip = self._shift_and_scale(key, clip, sample_rate)
        if not self.spec_mixup_alpha:
            return MixedClip(clip)
        rng = clip_rng(key, MIX_SPECTROGRAM)
        ratio = mixup_ratio(rng, self.spec_mixup_alpha)
        partner_index = _another(rng, key[2], candidates)
        partner = self._shift_and_scale([*key[:2], partner_index], load(partner_index), sample_rate)
        target, known = _mixed_targets(clip, partner, ratio)
        return MixedClip(LabelledClip(clip.waveform, target, known), partner.waveform, ratio)

    def _shift_and_scale(self, key: Sequence[int], clip: LabelledClip, sample_rate: int) -> LabelledClip:
        waveform = clip.waveform
        if self.roll_sec:
            waveform = roll(waveform, clip_rng(key, ROLL), round(self.roll_sec * sample_rate))
        if self.gain_db:
            waveform = change_gain(waveform, clip_rng(key, GAIN), self.gain_db)
        return replace(clip, waveform=waveform)


def _another(rng: np.random.Generator, index: int, candidates: Sequence[int]) -> int:
    """One of the candidates, and not `index`, where there is another."""
    place = int(rng.integers(len(candidates)))
    if candidates[place] == index:
        place = (place + 1) % len(candidates)
    return int(candidates[place])


def _mixed_targets(first: LabelledClip, second: LabelledClip, ratio: float) -> Tuple[np.ndarray, np.ndarray]:
    return mix_targets(first.target, first.known, second.target, second.known, ratio)
