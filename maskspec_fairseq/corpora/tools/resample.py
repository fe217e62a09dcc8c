"""Decode and resample a corpus once, to 16-bit wav: `python results/resample.py ESC-10 data/audio/esc10`.

What a small model trains on is decoded hundreds of times: an ogg at 44.1 kHz costs more time than a step of the model.
"""

import argparse
import sys
from pathlib import Path

import soundfile
import soxr
from tqdm import tqdm

from maskspec_fairseq.audio.read import read_audio

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "manifests"))
from maskspec_fairseq.corpora.builder import find_audio  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sample-rate", type=int, default=32000, help="Hz (default 32000)")
    args = parser.parse_args()
    for path in tqdm(find_audio(args.corpus), unit="file"):
        audio, rate = read_audio(str(args.corpus / path))
        out = (args.out / path).with_suffix(".wav")
        out.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(out, soxr.resample(audio, rate, args.sample_rate), args.sample_rate, subtype="PCM_16")


if __name__ == "__main__":
    main()
