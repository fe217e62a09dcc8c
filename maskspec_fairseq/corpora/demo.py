"""Ten kinds of synthetic sound, written as FLAC below DATA_DIR/audio: a corpus for trying things out.

A clip depends only on (seed, kind, number).
"""

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Callable, Union

import numpy as np
import soundfile
from tqdm import tqdm

from maskspec_fairseq.argument_types import int_at_least
from maskspec_fairseq.atomic_write import write_whole
from maskspec_fairseq.corpora.builder import Clip, Corpus, resolve_root
from maskspec_fairseq.corpora.output_dir import check_overwritable
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import ClipLabels, Label

SAMPLE_RATE = 32000
VALID_SHARE = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clips-per-kind", type=int_at_least(2), default=40, help="clips of each kind (default: 40)")
    parser.add_argument("--seed", type=int_at_least(0), default=1, help="draws the sounds (default: 1)")


def sine(t: np.ndarray, hz: Union[float, np.ndarray]) -> np.ndarray:
    """A tone, (T,), whose frequency `hz` may vary over the times t, (T,) in s."""
    return np.sin(2 * np.pi * np.cumsum(np.broadcast_to(hz, t.shape)) / SAMPLE_RATE)


def coloured_noise(t: np.ndarray, rng: np.random.Generator, slope: float) -> np.ndarray:
    """Noise, (T,), whose amplitude spectrum falls as f ** -slope."""
    spectrum = np.fft.rfft(rng.standard_normal(len(t)))
    spectrum[1:] /= np.arange(1, len(spectrum)) ** slope
    spectrum[0] = 0
    return np.fft.irfft(spectrum, len(t))


def pulses(t: np.ndarray, rng: np.random.Generator, per_sec: float, decay_sec: float, even: bool) -> np.ndarray:
    """Decaying noise bursts, (T,), evenly spaced or at random times."""
    count = max(1, int(per_sec * t[-1]))
    starts = (np.arange(count) + rng.random()) / per_sec if even else rng.random(count) * t[-1]
    envelope = np.zeros_like(t)
    for start in starts:
        first = np.searchsorted(t, start)
        envelope[first:] += np.exp(-(t[first:] - start) / decay_sec)
    return envelope * rng.standard_normal(len(t))


def steady_tone(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return sine(t, rng.uniform(200, 4000))


def harmonic_tone(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    base = rng.uniform(100, 400)
    return sum((sine(t, base * k) / k for k in range(1, 13)), np.zeros_like(t))


def rising_chirp(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return sine(t, np.geomspace(rng.uniform(100, 400), rng.uniform(4000, 10000), len(t)))


def falling_chirp(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rising_chirp(t, rng)[::-1]


def siren(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return sine(t, rng.uniform(800, 1500) * (1 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.5, 3) * t)))


def tremolo(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return harmonic_tone(t, rng) * (1 + np.sin(2 * np.pi * rng.uniform(4, 12) * t))


def hiss(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return coloured_noise(t, rng, 0.0)


def rumble(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return coloured_noise(t, rng, rng.uniform(0.8, 1.5))


def ticks(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return pulses(t, rng, rng.uniform(2, 8), 0.01, even=True)


def crackle(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return pulses(t, rng, rng.uniform(10, 30), 0.004, even=False)


KINDS: tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], ...] = (
    steady_tone, harmonic_tone, rising_chirp, falling_chirp, siren, tremolo, hiss, rumble, ticks, crackle
)  # fmt: skip


def synthesise(kind: int, number: int, seed: int) -> np.ndarray:
    """One clip of 2 to 4 s with a noise floor: (T,) in [-1, 1]."""
    rng = np.random.default_rng([seed, kind, number])
    t = np.arange(int(rng.uniform(2, 4) * SAMPLE_RATE)) / SAMPLE_RATE
    sound = KINDS[kind](t, rng)
    sound = sound / np.abs(sound).max() * rng.uniform(0.1, 0.9)
    return np.clip(sound + 0.002 * rng.standard_normal(len(t)), -1, 1)


def collect(args: argparse.Namespace) -> Corpus:
    """Write the audio, all of it or none, and list it; the last tenth of every kind is the subset valid.

    Raises:
        ManifestError: DATA_DIR holds something that is not from an earlier demo, or a manifest cannot hold its path.
    """
    audio_dir = args.out / "audio"
    names = [kind.__name__ for kind in KINDS]
    first_valid = args.clips_per_kind - max(1, round(VALID_SHARE * args.clips_per_kind))
    subsets: dict[str, list[Clip]] = {"train": [], "valid": []}
    resolve_root(audio_dir)
    check_overwritable(args.out, subsets)
    others = sorted(set(os.listdir(audio_dir)) - set(names)) if audio_dir.is_dir() else []
    if others:
        raise ManifestError(
            f"{audio_dir}: expected the folders of an earlier demo, which are replaced, found {others[0]!r}; "
            "name another --out"
        )

    def write_audio(scratch: Path) -> None:
        for kind, name in enumerate(tqdm(names, unit="kind", desc="demo audio", file=sys.stderr)):
            (scratch / name).mkdir(parents=True)
            for number in range(args.clips_per_kind):
                path = f"{name}/{number:04d}.flac"
                soundfile.write(scratch / path, synthesise(kind, number, args.seed), SAMPLE_RATE)
                subsets["train" if number < first_valid else "valid"].append(Clip(path, ClipLabels([name])))
        shutil.rmtree(audio_dir, ignore_errors=True)

    write_whole(audio_dir, write_audio)
    return Corpus(audio_dir, subsets, [Label(name, name.replace("_", " ")) for name in names])
