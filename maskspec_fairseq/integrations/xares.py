"""The encoder interface of X-ARES: https://github.com/jimbozhang/xares.

xares takes a file with one class whose name ends in `Encoder`, makes it without arguments, and keeps what it computed
under the name of that class; so each model has a class of its own, with its own name.

Shapes: B clips, T samples, N frames, D width of a frame.

Example:
    >>> from maskspec_fairseq.integrations import xares
    >>>
    >>> class MyRunEncoder(xares.MaskSpecEncoder):
    ...     def __init__(self):
    ...         super().__init__("CHECKPOINT")
"""

import torch
from torch import Tensor, nn

from maskspec_fairseq.inference.load import load_model
from maskspec_fairseq.integrations.hear import timestamp_passes


class MaskSpecEncoder(nn.Module):
    """A trained model for xares. Its frames are HEAR's timestamps: one every 40 ms with patches of 16 frames.

    `sampling_rate`, Hz, is that of the audio, `output_dim` is D, and `hop_size_in_ms` the time between frames.

    Args:
        path: a checkpoint or an exported folder.

    Raises:
        ValueError: see `maskspec_fairseq.load_model`.
        OSError: see there.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.model = load_model(path)
        self.passes = timestamp_passes(self.model)
        self.sampling_rate = self.model.sample_rate
        self.output_dim = self.model.frame_dim
        self.hop_size_in_ms = 1000 * self.model.column_samples / self.passes / self.sampling_rate

    @torch.no_grad()
    def forward(self, audio: Tensor) -> Tensor:
        """(B, T) at `sampling_rate`, of any length -> float32 (B, N, D)."""
        frames, _ = self.model.frame_embeddings(audio, self.sampling_rate, self.passes)
        return frames.float()
