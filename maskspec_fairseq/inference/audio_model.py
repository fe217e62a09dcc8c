"""A trained model as a plain module: audio of any length and rate in, scores and embeddings out. No fairseq here.

Shapes: B clips, T samples, K windows of W samples, M columns of patches in a window, N frames, D width, C classes.
"""

import inspect
import math
import numbers
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence, Tuple

import numpy as np
import soxr
import torch
from torch import Tensor, nn

from maskspec_fairseq.audio.read import clip_samples
from maskspec_fairseq.checkpoints.read import ENCODER_FIELDS
from maskspec_fairseq.data_dir.labels import Label
from maskspec_fairseq.modules.classifier import SpectrogramClassifier

MAX_WINDOWS = 16  # that go through the encoder together
MAX_WINDOWS_ON_CPU = 4  # more of them fit its cache worse, and take longer each
# What makes a model; the other arguments of `SpectrogramClassifier` are for training.
ARCHITECTURE = (*ENCODER_FIELDS, "pool", "norm_after_pool")


@dataclass
class AudioOutput:
    """What a model says of some clips.

    logits: (B, C), None of a model without a head.
    embedding: (B, D), what the head sees.
    """

    logits: Optional[Tensor]
    embedding: Tensor


class AudioModel(nn.Module):
    """Front end with its statistics, encoder, pooling and head, where there is one.

    A model that was finetuned pools as it did then, padding and all. One without a head takes the mean over the columns
    of patches that hold sound.

    Args:
        architecture: arguments of `SpectrogramClassifier` out of `ARCHITECTURE`; the others have their defaults.
        clip_sec: s, the length of clip that the model was trained on: the length of a window.
        channel: of a file that `mix_down` gives the model.
        labels: the classes in the order of the logits; none for a model without a head.
        target_is_multilabel: whether a clip has several classes, which each have a sigmoid, or one, by a softmax.
    """

    def __init__(
        self,
        architecture: Mapping[str, Any],
        clip_sec: float,
        channel: str = "mix",
        labels: Sequence[Label] = (),
        target_is_multilabel: bool = False,
    ) -> None:
        super().__init__()
        parameters = inspect.signature(SpectrogramClassifier).parameters
        self.architecture = {name: architecture.get(name, parameters[name].default) for name in ARCHITECTURE}
        self.clip_sec = clip_sec
        self.channel = channel
        self.labels = list(labels)
        self.target_is_multilabel = target_is_multilabel
        self.network = SpectrogramClassifier(num_classes=len(self.labels), **self.architecture)

    @property
    def sample_rate(self) -> int:
        """Hz, of what the network hears."""
        return self.network.front_end.sample_rate

    @property
    def embed_dim(self) -> int:
        return self.network.encoder.embed_dim

    @property
    def window_samples(self) -> int:
        """W."""
        return clip_samples(self.clip_sec, self.sample_rate)

    @property
    def column_samples(self) -> int:
        """Samples from one column of patches to the next."""
        return self.network.patch_size * self.network.front_end.hop_length

    def forward(self, waveform: Tensor, sample_rate: int) -> AudioOutput:
        """Logits and embeddings of clips.

        A clip longer than the model's length is taken in windows, the last of which ends with the clip, and the mean of
        their embeddings (and so of their logits) is the clip's, as in maskspec-evaluate.

        Args:
            waveform: float (B, T), full scale 1, of any length.
            sample_rate: of the waveform, Hz.

        Raises:
            ValueError: another shape, no sample, a sample that is not finite, or a rate that is no whole number.
        """
        embedding = self.embed(self.resample(waveform, sample_rate))
        return AudioOutput(self.network.head(embedding) if self.labels else None, embedding)

    def scores(self, logits: Tensor) -> Tensor:
        """Logits (..., C) -> probabilities of the classes (..., C)."""
        return logits.sigmoid() if self.target_is_multilabel else logits.softmax(dim=-1)

    def embed(self, waveform: Tensor, max_windows: Optional[int] = MAX_WINDOWS) -> Tensor:
        """(B, T) at the model's rate -> (B, D), with at most max_windows in the encoder together, all for None."""
        windows = self.windows(waveform)  # (B, K, W)
        flat = windows.flatten(0, 1)
        chunks = [flat] if max_windows is None else flat.split(self._together(max_windows))
        embeddings = torch.cat([self.embed_windows(chunk, waveform.shape[1]) for chunk in chunks])
        return embeddings.unflatten(0, windows.shape[:2]).mean(dim=1)

    def _together(self, max_windows: int) -> int:
        """How many of at most max_windows go through the encoder together on the model's device."""
        on_cpu = self.network.front_end.mel_mean.device.type == "cpu"
        return min(max_windows, MAX_WINDOWS_ON_CPU) if on_cpu else max_windows

    def windows(self, waveform: Tensor) -> Tensor:
        """(B, T) -> (B, K, W): every sample is in a window, the last one ends with the clip, a short clip is padded."""
        size = self.window_samples
        waveform = nn.functional.pad(waveform, (0, max(0, size - waveform.shape[1])))
        beyond = waveform.shape[1] - size
        # not -(-beyond // size): ONNX rounds a division towards zero
        starts = torch.arange(1 + (beyond + size - 1) // size, device=waveform.device) * size
        starts = starts.clamp(max=beyond)
        return waveform[:, starts[:, None] + torch.arange(size, device=waveform.device)]

    def embed_windows(self, windows: Tensor, num_samples: int) -> Tensor:
        """(B, W), of which the first num_samples are no padding -> (B, D)."""
        if self.labels:
            return self.network.embed(windows)
        columns = self.network.embed_columns(windows)
        return columns[:, : (num_samples + self.column_samples - 1) // self.column_samples].mean(dim=1)

    def frame_embeddings(
        self, waveform: Tensor, sample_rate: int, passes: int = 1, all_layers: bool = False
    ) -> Tuple[Tensor, Tensor]:
        """Embeddings of the columns of patches, one every 160 ms, or closer by encoding the clip several times.

        Every pass but the first shifts the clip by a share of a column; with 4 of them there is a frame every 40 ms.
        A clip longer than the model's length is taken in windows without overlap.

        Args:
            waveform, sample_rate: see `forward`.
            passes: how many times the clip is encoded.
            all_layers: the outputs of all layers one after the other, (B, N, layers * D).

        Returns:
            (B, N, D), the mean over a column's frequencies, and (N,), the time of its middle in the clip, s.

        Raises:
            ValueError: see `forward`; or passes that do not divide a column.
        """
        column, middle = self.column_samples, (self.network.patch_size - 1) * self.network.front_end.hop_length // 2
        if passes < 1 or column % passes:
            raise ValueError(
                f"expected a number of passes that divides the {column} samples of a column, found {passes}"
            )
        waveform = self.resample(waveform, sample_rate)
        frames, times = [], []
        for number in range(passes):
            shift = number * column // passes
            frames.append(self._columns(nn.functional.pad(waveform, (shift, 0)), all_layers))
            times.append(torch.arange(frames[-1].shape[1]) * column + middle - shift)
        times, order = torch.cat(times).sort()
        first = int((times < 0).sum())
        last = max(first + 1, int((times < waveform.shape[1]).sum()))  # a clip of a few samples has a frame, too
        frames = torch.cat(frames, dim=1)[:, order[first:last].to(waveform.device)]
        return frames, (times[first:last].double() / self.sample_rate).to(waveform.device)

    def _columns(self, waveform: Tensor, all_layers: bool) -> Tensor:
        """(B, T) -> (B, N, D), with as many columns as it takes to hold T samples."""
        size, column = self.window_samples, self.column_samples
        hop = self.network.front_end.grid(size)[1] * column  # what a window hears: whole columns
        count = math.ceil(waveform.shape[1] / hop)
        padded = nn.functional.pad(waveform, (0, max(0, (count - 1) * hop + size - waveform.shape[1])))
        windows = padded.unfold(1, size, hop)[:, :count]  # (B, K, W)
        chunks = windows.flatten(0, 1).split(self._together(MAX_WINDOWS))
        columns = torch.cat([self.network.embed_columns(chunk, all_layers) for chunk in chunks])
        columns = columns.unflatten(0, windows.shape[:2]).flatten(1, 2)  # (B, K * M, D)
        return columns[:, : math.ceil(waveform.shape[1] / column)]

    def resample(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Check clips, and bring them to the model's rate and device; errors of `forward`."""
        if not isinstance(sample_rate, numbers.Integral) or isinstance(sample_rate, bool) or sample_rate <= 0:
            raise ValueError(f"expected the sample rate as a whole number of Hz, found {sample_rate!r}")
        if not (torch.is_tensor(waveform) and waveform.dim() == 2 and waveform.is_floating_point()):
            found = (
                f"{waveform.dtype} {tuple(waveform.shape)}" if torch.is_tensor(waveform) else type(waveform).__name__
            )
            raise ValueError(
                f"expected a waveform as a tensor of floats, (B, T), found {found}; of one clip: clip[None]"
            )
        if not waveform.numel():
            raise ValueError(f"expected a waveform with samples, found the shape {tuple(waveform.shape)}")
        if not torch.isfinite(waveform).all():
            raise ValueError("expected finite samples, found NaN or infinity")
        waveform = waveform.float()
        if sample_rate != self.sample_rate:
            clips = waveform.detach().cpu().numpy()
            resampled = np.stack([soxr.resample(clip, sample_rate, self.sample_rate, quality="HQ") for clip in clips])
            if not resampled.size:
                raise ValueError(f"expected a sample at {self.sample_rate} Hz at least, found {clips.shape[1]} before")
            waveform = torch.from_numpy(resampled)
        return waveform.to(self.network.front_end.mel_mean.device)


def with_weights(model: AudioModel, weights: Mapping[str, Tensor], path: str) -> AudioModel:
    """The model in eval mode with the weights of a file.

    Raises:
        ValueError: they do not fit, or have no statistics of the log-mel.
    """
    try:
        model.network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"{path}: expected the weights of the model that it describes, found others: {error}"
        ) from error
    if not model.network.front_end.has_statistics:
        raise ValueError(
            f"{path}: expected the statistics of the log-mel, found none, as in converted weights of images; "
            "finetune the model (model.pretrained), which measures them"
        )
    return model.eval()
