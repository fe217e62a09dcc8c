"""Load audio in processes of their own, and batch the windows of the clips of a manifest.

Shapes: K windows of W samples per clip, B windows of a batch.
"""

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from maskspec_fairseq.audio.read import load_clip
from maskspec_fairseq.data_dir.manifest import Manifest
from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.inference.waveforms import cut_windows


class WindowedClips(Dataset):
    """The clips of a manifest, each with all of its samples, as float32 windows (K, W).

    Args:
        manifest: the clips.
        model: says rate, channel and W; it does not travel to the processes that load.
        hop: samples from one window to the next.
    """

    def __init__(self, manifest: Manifest, model: AudioModel, hop: int) -> None:
        self.manifest = manifest
        self.sample_rate, self.channel, self.size = model.sample_rate, model.channel, model.window_samples
        self.hop = hop

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, index: int) -> np.ndarray:
        waveform, _ = load_clip(self.manifest.full_path(index), self.sample_rate, channel=self.channel)
        return cut_windows(torch.from_numpy(waveform)[None], self.size, self.hop)[0].numpy()


@contextmanager
def hold_interrupts() -> Iterator[None]:
    """Let Ctrl-C, which reaches every process of a terminal, wait while a loader starts its processes.

    They inherit this, and so leave Ctrl-C to the main process, which ends them; one that is starting them would not.
    """
    if threading.current_thread() is not threading.main_thread():  # others get no Ctrl-C
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt


def unchanged(item: Any) -> Any:
    """The item as it is: by itself a `DataLoader` makes tensors of arrays."""
    return item


def load_in_order(dataset: Dataset, workers: int) -> Iterator[Any]:
    """The items of a dataset, which has a length, in order.

    Args:
        dataset: of arrays, which travel through a pipe. Torch shares the memory of tensors instead, by a thread that
            prints a traceback when Ctrl-C ends the main process at the wrong moment.
        workers: processes that load them; 0 or less to load in this one.

    Raises:
        RuntimeError: a process was killed; torch raises it wherever the program is, and `run_program` reports it.
    """
    if workers <= 0:
        for index in range(len(dataset)):  # type: ignore[arg-type]
            yield dataset[index]
        return
    with hold_interrupts():
        items = iter(DataLoader(dataset, batch_size=None, num_workers=workers, collate_fn=unchanged))
    yield from items


def batches(clips: Iterable[np.ndarray], batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Collect the windows of consecutive clips, (K, W) each: the numbers of their clips, (B,), and the windows, (B, W).

    All batches but the last have batch_size windows.
    """
    owners: list[int] = []
    parts: list[np.ndarray] = []
    for number, windows in enumerate(clips):
        for window in windows:
            owners.append(number)
            parts.append(window)
            if len(parts) == batch_size:
                yield torch.tensor(owners), torch.from_numpy(np.stack(parts))
                owners, parts = [], []
    if parts:
        yield torch.tensor(owners), torch.from_numpy(np.stack(parts))
