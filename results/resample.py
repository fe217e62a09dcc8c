"""Decode and resample a corpus once, to 16-bit wav: `python results/resample.py ESC-10 data/audio/esc10`.

What a small model trains on is decoded hundreds of times: an ogg at 44.1 kHz costs more time than a step of the model.
"""

import argparse
from pathlib import Path

import soundfile
import soxr
from tqdm import tqdm

EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sample-rate", type=int, default=32000, help="Hz (default 32000)")
    args = parser.parse_args()
    files = sorted(path for path in args.corpus.rglob("*") if path.suffix in EXTENSIONS)
    for path in tqdm(files, unit="file"):
        audio, rate = soundfile.read(path, dtype="float32")
        out = (args.out / path.relative_to(args.corpus)).with_suffix(".wav")
        out.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(out, soxr.resample(audio, rate, args.sample_rate), args.sample_rate, subtype="PCM_16")


if __name__ == "__main__":
    main()
