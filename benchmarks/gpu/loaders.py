"""What the loaders must deliver for a pretraining in bf16, against what one loader process delivers here.

The ratio is the number of loader processes that such a run needs. The files are wavs at 32 kHz, each crop a whole
file.
"""

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.steps import pretraining_step
from benchmarks.gpu.workload import Workload
from benchmarks.loader import BATCH, load, write_noise
from benchmarks.steps import RATE
from benchmarks.timing import Row, in_turns
from maskspec_fairseq.data.audio_dataset import AudioDataset
from maskspec_fairseq.data_dir.manifest import Manifest

BYTES_PER_SAMPLE = 4


def rows(work: Workload) -> Iterator[Row]:
    delivered = loader_rate(work)
    for size in work.sizes:
        for recipe in (f"maskspec_{size}", f"maskspec_{size}_fast"):
            step = pretraining_step(work, size, recipe.endswith("_fast"), "bf16")
            needed = work.clips / statistics.median(work.time({"step": step})["step"])
            mebibytes = needed * work.seconds * RATE * BYTES_PER_SAMPLE / 2**20
            yield Row(
                f"loaders of {recipe}, bf16, clips of {work.seconds} s",
                "one loader process on this machine",
                f"{needed:.0f} clips/s",
                f"{delivered:.0f} clips/s",
                needed / delivered,
                note=f"{mebibytes:.0f} MiB/s to the device; the ratio is the number of processes",
            )


def loader_rate(work: Workload) -> float:
    """Clips per second of one loader process, with its start."""
    files = BATCH * 4
    with tempfile.TemporaryDirectory() as name:
        names = write_noise(Path(name), "wav", RATE, work.seconds, files) * work.rounds
        frames = [work.seconds * RATE] * len(names)
        dataset = AudioDataset(Manifest(name, names, frames), RATE, work.seconds, training=True)
        return len(names) / min(in_turns({"load": lambda: load(dataset, 1)}, rounds=2)["load"])
