"""A finetuning step with and without patchout, 527 classes, against a ViT of timm of the same size."""

from collections.abc import Iterator

from benchmarks.finetuning_step import PATCHOUT
from benchmarks.gpu.steps import finetuning_step, timm_finetuning_step
from benchmarks.gpu.workload import Workload
from benchmarks.timing import Row, rate_row


def rows(work: Workload) -> Iterator[Row]:
    for precision in ("bf16", "fp16"):
        for size in work.sizes:
            seconds = work.time(
                {
                    "whole": finetuning_step(work, size, 0.0, precision),
                    "patchout": finetuning_step(work, size, PATCHOUT, precision),
                    "theirs": timm_finetuning_step(work, size, precision),
                }
            )
            for way, title in (("whole", "without patchout"), ("patchout", f"patchout {PATCHOUT}")):
                yield rate_row(
                    f"finetuning step, {size}, {precision}, {work.clips} clips of {work.seconds} s, {title}",
                    "timm ViT of the same size, autocast",
                    "clips",
                    work.clips,
                    seconds[way],
                    seconds["theirs"],
                    target="",
                )
