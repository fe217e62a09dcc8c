"""Mixtures of ESC-10 clips in noise with known times: `python -m experiments.event_mixtures ESC-10 --out DIR`.

A mixture is 10 s of pink noise at 32 kHz with one to four sounds in it, which may overlap. A sound is the longest
stretch of an ESC-10 clip without a pause, at most 3 s of it, so that its start and end are those of something heard.
Training mixtures are of folds 2 to 5, test mixtures of fold 1. DIR gets audio/{train,test}_NNNN.flac and, as DESED has
them, train.tsv and test.tsv. The same seed makes the same files.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import soundfile

from maskspec_fairseq.audio.read import load_clip
from maskspec_fairseq.corpora.builder import find_audio

RATE = 32000  # Hz
SECONDS = 10.0
MAX_EVENT = 3.0  # s
MIN_EVENT = 0.1  # s
BLOCK = 0.02  # s, of which the level is measured
QUIET = 30.0  # dB below the loudest block: silence
PAUSE = 0.2  # s of silence that ends a sound
SNR = (6.0, 20.0)  # dB, of a sound's mean power to that of the noise
NOISE_RMS = 0.01


def sound_of(waveform: np.ndarray) -> np.ndarray:
    """The longest stretch without a pause, at most `MAX_EVENT` of it: (T,) -> (T',)."""
    size, pause = round(BLOCK * RATE), round(PAUSE / BLOCK)
    blocks = waveform[: len(waveform) // size * size].reshape(-1, size)
    power = (blocks**2).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (-QUIET / 10))
    stretches = np.split(loud, np.flatnonzero(np.diff(loud) > pause) + 1)
    longest = max(stretches, key=len)
    sound = waveform[longest[0] * size : (longest[-1] + 1) * size][: round(MAX_EVENT * RATE)]
    fade = np.minimum(1, np.minimum(np.arange(len(sound)), np.arange(len(sound))[::-1]) / (0.005 * RATE))
    return sound * fade


def pink_noise(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Noise of equal power per octave above 20 Hz, of RMS `NOISE_RMS`."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(samples, 1 / RATE), 20.0))
    noise = np.fft.irfft(spectrum, samples)
    return noise * NOISE_RMS / noise.std()


def mixture(
    rng: np.random.Generator, sounds: dict[str, list[np.ndarray]]
) -> tuple[np.ndarray, list[tuple[float, float, str]]]:
    """A mixture, (T,), and the start, end, s, and label of each sound in it."""
    mixed, events = pink_noise(rng, round(SECONDS * RATE)), []
    for label in rng.choice(sorted(sounds), rng.integers(1, 4, endpoint=True), replace=False):
        sound = sounds[label][rng.integers(len(sounds[label]))]
        first = int(rng.integers(len(mixed) - len(sound), endpoint=True))
        gain = NOISE_RMS * 10 ** (rng.uniform(*SNR) / 20) / np.sqrt((sound**2).mean())
        mixed[first : first + len(sound)] += gain * sound
        events.append((first / RATE, (first + len(sound)) / RATE, str(label)))
    return mixed / max(1.0, np.abs(mixed).max() / 0.99), sorted(events)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("esc10", type=Path, metavar="ESC-10", help="folders `001 - Dog bark` ... of .ogg files")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--train", type=int, default=400, metavar="N", help="mixtures (default: %(default)s)")
    parser.add_argument("--test", type=int, default=100, metavar="N", help="mixtures (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    sounds: dict[str, dict[str, list[np.ndarray]]] = {"train": {}, "test": {}}
    for path in find_audio(args.esc10):
        waveform, _ = load_clip(str(args.esc10 / path), RATE)
        sound = sound_of(waveform)
        if len(sound) >= MIN_EVENT * RATE:
            subset = "test" if Path(path).name.startswith("1-") else "train"
            sounds[subset].setdefault(Path(path).parent.name.partition(" - ")[2], []).append(sound)
    (args.out / "audio").mkdir(parents=True, exist_ok=True)
    for number, (subset, count) in enumerate((("train", args.train), ("test", args.test))):
        with open(args.out / f"{subset}.tsv", "w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
            writer.writerow(["filename", "onset", "offset", "event_label"])
            for index in range(count):
                waveform, events = mixture(np.random.default_rng([args.seed, number, index]), sounds[subset])
                name = f"{subset}_{index:04d}.flac"
                soundfile.write(args.out / "audio" / name, waveform, RATE)
                writer.writerows((name, f"{start:.5f}", f"{end:.5f}", label) for start, end, label in events)
        print(f"{args.out / subset}.tsv: {count} mixtures of {sum(map(len, sounds[subset].values()))} sounds")


if __name__ == "__main__":
    main()
