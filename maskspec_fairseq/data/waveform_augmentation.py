"""What finetuning does to a clip's waveform and targets before the model sees them.

Every draw depends on (seed, epoch, clip) alone. Source: MaskSpec, arXiv:2204.12768, section 3.2 (mixup, rolling).

Shapes: T samples, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Optional, Union

import numpy as np

from maskspec_fairseq.clip_rng import GAIN, MIX_SPECTROGRAM, MIX_WAVEFORM, ROLL, clip_rng


@dataclass
class LabelledClip:
    """A waveform, float32 (T,), its target, float32 (C,), and bool (C,), whether the target is known."""

    waveform: np.ndarray
    target: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class MixPlan:
    """The clips that are mixed into another one, by index, and the share that the clip itself keeps; None: no mix."""

    wave_partner: Optional[int] = None
    wave_ratio: float = 1.0
    spec_partner: Optional[int] = None
    spec_ratio: float = 1.0


@dataclass
class MixedClip:
    """A clip, and the one that its log-mel is to be mixed with: ratio * first + (1 - ratio) * second."""

    clip: LabelledClip
    second: Optional[np.ndarray] = None
    ratio: float = 1.0


@dataclass
class WaveformAugmentation:
    """The strengths, each 0 for none. `plan` says which other clips a clip needs, `apply` changes it.

    Args:
        wave_mixup: probability that a waveform is mixed with another one.
        wave_mixup_alpha: parameter of the Beta distribution of the ratio.
        spec_mixup_alpha: parameter of the Beta distribution for mixing log-mels, which every clip undergoes.
        roll_sec: s, largest roll over time, in either direction.
        gain_db: dB, largest change of level, up or down.
    """

    wave_mixup: float = 0.0
    wave_mixup_alpha: float = 2.0
    spec_mixup_alpha: float = 0.0
    roll_sec: float = 0.0
    gain_db: float = 0.0

    def plan(self, key: Sequence[int], candidates: Union[Sequence[int], np.ndarray]) -> MixPlan:
        """Draw what is mixed into a clip.

        Args:
            key: (seed, epoch, clip).
            candidates: the clips of the epoch, from which partners are drawn.
        """
        plan = MixPlan()
        if self.wave_mixup:
            rng = clip_rng(key, MIX_WAVEFORM)
            if rng.random() < self.wave_mixup:
                ratio = mixup_ratio(rng, self.wave_mixup_alpha)
                plan = replace(plan, wave_partner=_another(rng, key[2], candidates), wave_ratio=ratio)
        if self.spec_mixup_alpha:
            rng = clip_rng(key, MIX_SPECTROGRAM)
            ratio = mixup_ratio(rng, self.spec_mixup_alpha)
            plan = replace(plan, spec_partner=_another(rng, key[2], candidates), spec_ratio=ratio)
        return plan

    def apply(
        self,
        key: Sequence[int],
        plan: MixPlan,
        sample_rate: int,
        clip: LabelledClip,
        wave_partner: Optional[LabelledClip] = None,
        spec_partner: Optional[LabelledClip] = None,
    ) -> MixedClip:
        """Mix a clip with the partners of its plan, roll it and change its gain.

        Args:
            key: (seed, epoch, clip).
            plan: what `plan` has drawn for the key.
            sample_rate: Hz.
            clip: the clip of the key.
            wave_partner: clip `plan.wave_partner`, where there is one.
            spec_partner: clip `plan.spec_partner`, where there is one; rolled and scaled as it would be by itself.
        """
        if wave_partner is not None:
            waveform = mix_waveforms(clip.waveform, wave_partner.waveform, plan.wave_ratio)
            clip = LabelledClip(waveform, *_mixed_targets(clip, wave_partner, plan.wave_ratio))
        waveform = self._roll_and_scale(key, clip.waveform, sample_rate)
        if spec_partner is None or plan.spec_partner is None:
            return MixedClip(replace(clip, waveform=waveform))
        second = self._roll_and_scale([*key[:2], plan.spec_partner], spec_partner.waveform, sample_rate)
        target, known = _mixed_targets(clip, spec_partner, plan.spec_ratio)
        return MixedClip(LabelledClip(waveform, target, known), second, plan.spec_ratio)

    def shift(self, key: Sequence[int], sample_rate: int) -> int:
        """By how many samples a clip is rolled."""
        return draw_shift(clip_rng(key, ROLL), round(self.roll_sec * sample_rate)) if self.roll_sec else 0

    def _roll_and_scale(self, key: Sequence[int], waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        if self.roll_sec:
            waveform = roll(waveform, clip_rng(key, ROLL), round(self.roll_sec * sample_rate))
        if self.gain_db:
            waveform = change_gain(waveform, clip_rng(key, GAIN), self.gain_db)
        return waveform


def _another(rng: np.random.Generator, index: int, candidates: Union[Sequence[int], np.ndarray]) -> int:
    """One of the candidates other than `index`, where there is another."""
    place = int(rng.integers(len(candidates)))
    if candidates[place] == index:
        place = (place + 1) % len(candidates)
    return int(candidates[place])


def _mixed_targets(first: LabelledClip, second: LabelledClip, ratio: float) -> tuple[np.ndarray, np.ndarray]:
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

    The released code subtracts the mean of each clip and again that of the mix; the last makes the first two redundant.

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
) -> tuple[np.ndarray, np.ndarray]:
    """The labels of a mix: ratio * first + (1 - ratio) * second, known where the first (louder) clip's are known.

    An unknown label of the second clip counts as absent, as most labels are. The code released for OpenMIC, whose
    recipe leaves mixup off, would treat a label as known where either clip's is known, and an unknown one of the
    louder clip as absent, too. If both had to be known, hardly a label would be left: there, a clip has two known
    labels out of 20.

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
    """Shift (T,) circularly by a whole number of samples, uniform in [-max_samples, max_samples].

    Source: MaskSpec, arXiv:2204.12768, section 3.2, which gives no distance; the released code uses 50 samples.

    Raises:
        ValueError: max_samples is below 0.
    """
    return np.roll(waveform, draw_shift(rng, max_samples))


def draw_shift(rng: np.random.Generator, max_samples: int) -> int:
    """How far `roll` shifts, samples.

    Raises:
        ValueError: max_samples is below 0.
    """
    if max_samples < 0:
        raise ValueError(f"expected a roll of at least 0 samples, found {max_samples}")
    return int(rng.integers(-max_samples, max_samples, endpoint=True))


def change_gain(waveform: np.ndarray, rng: np.random.Generator, max_db: float) -> np.ndarray:
    """Scale (T,) by 10 ** (g / 20), g uniform in [-max_db, max_db] dB; the released code uses 7 dB.

    Raises:
        ValueError: max_db is below 0.
    """
    if max_db < 0:
        raise ValueError(f"expected a gain of at least 0 dB either way, found {max_db}")
    return waveform * float(10 ** (rng.uniform(-max_db, max_db) / 20))
