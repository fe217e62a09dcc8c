"""Embeddings by what `maskspec_fairseq.load_model` returns, against a ViT of timm of the same size on our front end.

The half precision is autocast's on both sides. The weights are random, which costs the same.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Callable

import torch

from benchmarks import steps
from benchmarks.gpu.steps import timm_vit
from benchmarks.gpu.workload import DTYPES, Workload
from benchmarks.steps import RATE
from benchmarks.timing import Row, rate_row
from maskspec_fairseq.inference.audio_model import AudioModel


def rows(work: Workload) -> Iterator[Row]:
    for size in work.sizes:
        model = AudioModel(asdict(steps.SIZES[size]), work.seconds).to(work.device).eval()
        vit = timm_vit(work, model.network.front_end, size, num_classes=0).eval()
        waveform = work.waveform(RATE)
        for precision in ("float32", "bf16", "fp16"):
            ways = {
                "ours": inferring(work, precision, lambda: model.embed(waveform)),  # noqa: B023
                "theirs": inferring(work, precision, lambda: vit(model.network.front_end(waveform)[:, None])),  # noqa: B023
            }
            yield rate_row(
                f"embeddings, {size}, {precision}, {work.clips} clips of {work.seconds} s",
                "timm ViT of the same size",
                "clips",
                work.clips,
                **work.time(ways),
                target="",
            )


def inferring(work: Workload, precision: str, function: Callable[[], object]) -> Callable[[], None]:
    """The function in inference mode and in a precision."""

    def autocast() -> AbstractContextManager:
        return torch.autocast(work.device, DTYPES.get(precision, torch.bfloat16), enabled=precision in DTYPES)

    def run() -> None:
        with torch.inference_mode(), autocast():
            function()

    return run
