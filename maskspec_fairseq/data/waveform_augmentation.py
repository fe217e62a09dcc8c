"""What finetuning does to a clip's waveform and targets before the model sees them.

Every draw depends on (seed, epoch, clip) alone. Source: MaskSpec, arXiv:2204.12768, section 3.2 (mixup, rolling).

Shapes: T samples, C classes.
"""

from dataclasses import dataclass, replace
from typing import Callable, Optional, Sequence, Tuple

import numpy as np

from maskspec_fairseq.clip_rng import GAIN, MIX_SPECTROGRAM, MIX_WAVEFORM, ROLL, clip_rng


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


def mixup_ratio(rng: np.random.Generator, alpha: float) -> float:
    """The share of the first clip in a mix: lambda ~ Beta(alpha, alpha), folded to max(lambda, 1 - lambda).

    Source: mixup, arXiv:1710.09412. The fold is the released code's: the first clip is never the quieter one.

    Raises:
        ValueError: alpha is not above 0.
    """
    if alpha <= 0:
        raise ValueError(f"expected the mixup alpha above 0, found {alpha}; leave mixup out instead of setting 0")
    ratio = float(rng.beta(alpha, alpha))
    return max(ratio, 1 - ratio)


def mix_waveforms(first: np.ndarray, second: np.ndarray, ratio: float) -> np.ndarray:
    """ratio * first + (1 - ratio) * second, without its mean.

    The released code takes the mean out of each clip and again out of the mix; the last makes up for the first two.

    Args:
        first: float32 (T,).
        second: float32 (T,).

    Returns:
        float32 (T,), a new array.

    Raises:
        ValueError: the lengths differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"expected two waveforms of one length, found {first.shape} and {second.shape}")
    mixed = float(ratio) * first + (1 - float(ratio)) * second
    return mixed - mixed.mean()


def mix_targets(
    first: np.ndarray, first_known: np.ndarray, second: np.ndarray, second_known: np.ndarray, ratio: float
) -> Tuple[np.ndarray, np.ndarray]:
    """The labels of a mix: ratio * first + (1 - ratio) * second, known where the first clip's, the louder one's, are.

    An unknown label of the second clip counts as absent, as most labels are. The code released for OpenMIC, whose
    recipe leaves mixup off, would take a label as known where either clip's is, and an unknown one of the louder clip
    as absent, too. Were both to be known, hardly a label would be left: there, a clip has two known ones of 20.

    Args:
        first: float32 (C,), in [0, 1].
        first_known: bool (C,).
        second: float32 (C,), in [0, 1].
        second_known: bool (C,).

    Returns:
        The targets, float32 (C,), 0 where unknown, and which of them are known, bool (C,).
    """
    mixed = float(ratio) * first + (1 - float(ratio)) * np.where(second_known, second, 0)
    return np.where(first_known, mixed, 0).astype(np.float32), first_known


def roll(waveform: np.ndarray, rng: np.random.Generator, max_samples: int) -> np.ndarray:
    """Shift (T,) in a circle by a whole number of samples, uniform in [-max_samples, max_samples].

    Source: MaskSpec, arXiv:2204.12768, section 3.2, which gives no distance; the released code has 50 samples.

    Raises:
        ValueError: max_samples is below 0.
    """
    if max_samples < 0:
        raise ValueError(f"expected a roll of at least 0 samples, found {max_samples}")
    return np.roll(waveform, rng.integers(-max_samples, max_samples, endpoint=True))


def change_gain(waveform: np.ndarray, rng: np.random.Generator, max_db: float) -> np.ndarray:
    """Scale (T,) by 10 ** (g / 20), g uniform in [-max_db, max_db] dB; the released code has 7 dB.

    Raises:
        ValueError: max_db is below 0.
    """
    if max_db < 0:
        raise ValueError(f"expected a gain of at least 0 dB either way, found {max_db}")
    return waveform * float(10 ** (rng.uniform(-max_db, max_db) / 20))
