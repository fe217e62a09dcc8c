"""Embeddings of many short files by maskspec-embed's job, against the slower of its two parts alone:
`python -m benchmarks many_files`.

Wavs of 5 s of noise at 32 kHz, the tiny encoder with windows of 5 s. Ours reads them by as many processes as
maskspec-embed has by default, encodes, and writes a file per clip. The parts: decoding the same files in a loop, and
encoding windows that are in memory, in the same batches; the peer is the slower one of each round. One more row is ours
in bf16 against ours in float32, on a processor with units for it.
"""

import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Callable

import torch

from benchmarks.loader import write_noise
from benchmarks.machine import bf16_units
from benchmarks.timing import Row, in_turns, rate_row
from maskspec_fairseq.argument_types import WORKERS
from maskspec_fairseq.audio.read import load_clip
from maskspec_fairseq.inference.audio_model import MAX_WINDOWS, AudioModel
from maskspec_fairseq.inference.embedding_job import Clips, embed_clips
from maskspec_fairseq.modules.sizes import TINY

RATE, CLIP_SEC, FILES, CLIPS, ROUNDS = 32000, 5, 50, 250, 2


def rows(clips: int = CLIPS, rounds: int = ROUNDS) -> list[Row]:
    model = AudioModel(asdict(TINY), CLIP_SEC).eval()
    model.network.front_end.set_statistics([-5.0] * 128, [3.0] * 128)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = write_noise(folder, "wav", RATE, CLIP_SEC, min(FILES, clips))
        paths = [f"{number}/{names[number % len(names)]}" for number in range(clips)]
        for number in range(clips):  # a clip that is listed twice would be embedded once
            (folder / str(number)).symlink_to(folder)
        files = [str(folder / path) for path in paths]
        windows = torch.stack([torch.from_numpy(load_clip(file, RATE)[0]) for file in files[:MAX_WINDOWS]])

        def ours(precision: str) -> None:
            out = folder / "out"
            result = embed_clips(model, Clips(name, paths, files), str(out), workers=WORKERS, precision=precision)
            assert result.num_embedded == clips
            shutil.rmtree(out)

        def decode() -> None:
            for file in files:
                load_clip(file, RATE)

        @torch.inference_mode()
        def encode() -> None:
            for start in range(0, clips, MAX_WINDOWS):
                model.embed(windows[: clips - start])

        ways: dict[str, Callable[[], None]] = {"ours": lambda: ours("float32"), "decode": decode, "encode": encode}
        if bf16_units():
            ways["bf16"] = lambda: ours("bf16")
        seconds = in_turns(ways, rounds)
    slower = [max(pair) for pair in zip(seconds["decode"], seconds["encode"])]
    work = f"embeddings of {clips} files of {CLIP_SEC} s by tiny"
    part = "decoding" if median(seconds["decode"]) > median(seconds["encode"]) else "the encoder"
    found = [rate_row(work, f"{part} alone", "clips", clips, seconds["ours"], slower, "at least 0.9")]
    if "bf16" in seconds:
        times = seconds["bf16"], seconds["ours"]
        found.append(rate_row(f"{work}, bf16", "ours in float32", "clips", clips, *times, ""))
    return found
