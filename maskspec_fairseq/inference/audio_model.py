"""A trained model as a plain module: audio of any length and rate in, logits and embeddings out. No fairseq here.

Shapes: B clips, T samples, K windows of W samples, M columns of patches per window, P passes, N frames, E width of
an embedding, W' of a frame's, C classes.
"""

import inspect
import logging
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Optional, Union

import torch
from torch import Tensor, nn

from maskspec_fairseq.audio.read import MAX_ABS_SAMPLE, clip_samples
from maskspec_fairseq.checkpoints.check import ARCHITECTURE
from maskspec_fairseq.data_dir.labels import Label
from maskspec_fairseq.inference.scored_windows import ScoredWindows
from maskspec_fairseq.inference.waveforms import check_waveform, cut_windows, resample, unpad
from maskspec_fairseq.modules.classifier import SpectrogramClassifier
from maskspec_fairseq.modules.frame_head import pool_frames
from maskspec_fairseq.modules.pooling import ATTENTION, check_pool

logger = logging.getLogger(__name__)

MAX_WINDOWS = 64  # encoded together; on a GPU a tiny model takes as long for 16
MAX_PEAK = 10.0  # 20 dB above full scale; louder samples have another scale
MAX_WINDOWS_ON_CPU = 4  # larger batches fit a CPU's cache less well, and take longer per window
Layers = Union[Sequence[int], Literal["all"]]


@dataclass
class AudioOutput:
    """What a model computes for a batch of clips.

    logits: (B, C), None for a model without a head; of one with a head of frames, their maximum over time.
    embedding: (B, E), the pooled embedding, the head's input if it is one of clips.
    """

    logits: Optional[Tensor]
    embedding: Tensor


class AudioModel(nn.Module):
    """Front end with its statistics, encoder, pooling, and the head if there is one.

    A finetuned model, which has a head or a norm after the pooling, pools as in its training, padding included. A
    pretrained one, and one with `layers`, pools the columns of patches that hold sound.

    Args:
        architecture: arguments of `SpectrogramClassifier` out of `ARCHITECTURE`; the others have their defaults.
        clip_sec: s, the length of the clips that the model was trained on: the length of a window.
        channel: of a file, see `mix_down`.
        labels: the classes in the order of the logits; empty for a model without a head.
        target_is_multilabel: True if a clip has any number of classes (a sigmoid per class), False if it has exactly
            one (a softmax).
        layers: numbers of the blocks whose outputs are pooled, side by side, from 1; empty for the last one. A model
            with layers has no head.

    Example:
        >>> tiny = {"encoder_embed_dim": 32, "encoder_layers": 1, "encoder_attention_heads": 2}
        >>> model = AudioModel(tiny, clip_sec=1.0, labels=[Label("dog", "Dog"), Label("rain", "Rain")]).eval()
        >>> output = model(torch.zeros(3, 48000), sample_rate=16000)
        >>> output.logits.shape, output.embedding.shape
        (torch.Size([3, 2]), torch.Size([3, 32]))
    """

    def __init__(
        self,
        architecture: Mapping[str, Any],
        clip_sec: float,
        channel: str = "mix",
        labels: Sequence[Label] = (),
        target_is_multilabel: bool = False,
        layers: Sequence[int] = (),
    ) -> None:
        super().__init__()
        parameters = inspect.signature(SpectrogramClassifier).parameters
        self.architecture = {name: architecture.get(name, parameters[name].default) for name in ARCHITECTURE}
        self.clip_sec = clip_sec
        self.channel = channel
        self.labels = list(labels)
        self.target_is_multilabel = target_is_multilabel
        self.network = SpectrogramClassifier(num_classes=len(self.labels), **self.architecture)
        self.layers = tuple(layers)
        self._warned_of_scale = False

    def read_out(self, pool: Optional[str] = None, layers: Optional[Layers] = None) -> "AudioModel":
        """Let the embedding be another one of the same encoder, of the columns that hold sound alone; drop the head.

        Args:
            pool: out of `POOLS`, or `ATTENTION` for a model that was finetuned with it; that of the model if None.
            layers: numbers of blocks, from 1, or "all"; those of the model if None.

        Raises:
            ValueError: a pooling or layers that the encoder does not have.
        """
        last = len(self.network.encoder.blocks)
        pool = pool or self.architecture["pool"]
        check_pool(pool, self.architecture["cls_token"])
        chosen = range(1, last + 1) if layers == "all" else layers or self.layers or (last,)
        if not (isinstance(chosen, Sequence) and all(number in range(1, last + 1) for number in chosen)):
            raise ValueError(
                f"expected numbers of layers from 1 to {last}, the last one, or all, found {layers!r}; choose others"
            )
        if pool == ATTENTION and self.network.attention_pool is None:
            raise ValueError(
                f"expected a model that was finetuned with model.pool={ATTENTION} for the pooling {ATTENTION}, found "
                "one without its weights; finetune it so, or choose another pooling"
            )
        if pool == ATTENTION and set(chosen) != {last}:
            raise ValueError(
                f"expected layer {last}, the last one, for the pooling {ATTENTION}, which was trained on it, found "
                f"{layers!r}; choose another pooling"
            )
        if pool != ATTENTION:
            self.network.attention_pool = None
        self.layers = tuple(map(int, chosen))
        self.architecture.update(pool=pool, head="linear")
        self.network.pool, self.network.head_of_frames = pool, False
        self.labels, self.network.head = [], nn.Identity()
        return self

    @property
    def sample_rate(self) -> int:
        """Hz, of the network's input."""
        return self.network.front_end.sample_rate

    @property
    def embed_dim(self) -> int:
        """E."""
        return self.network.embedding_dim * max(1, len(self.layers))

    @property
    def frame_dim(self) -> int:
        """W'."""
        return self.network.column_dim * max(1, len(self.layers))

    @property
    def window_samples(self) -> int:
        """W."""
        return clip_samples(self.clip_sec, self.sample_rate)

    @property
    def column_samples(self) -> int:
        """Samples from one column of patches to the next."""
        return self.network.patch_size[1] * self.network.front_end.hop_length

    @property
    def scored_windows(self) -> ScoredWindows:
        """How a clip is cut for a head of frames."""
        columns = self.network.front_end.grid(self.window_samples)[1]
        return ScoredWindows(self.window_samples, columns, self.column_samples, self._column_middle)

    @property
    def _column_middle(self) -> int:
        """Samples from the beginning of a window to the middle of its first column."""
        front_end = self.network.front_end
        return front_end.frames.first_middle + (self.network.patch_size[1] - 1) * front_end.hop_length // 2

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def forward(
        self,
        waveform: Tensor,
        sample_rate: int,
        lengths: Optional[Sequence[int]] = None,
        scale: Optional[float] = None,
    ) -> AudioOutput:
        """Logits and embeddings of a batch of clips.

        A clip longer than the model's length is cut into windows, the last of which ends with the clip. The clip's
        embedding is the mean over its windows, and so are its logits.

        Args:
            waveform: float (B, T), of any length.
            sample_rate: of the waveform, Hz.
            lengths: B numbers of samples, if clips of unequal length were padded to T: each clip gets what it gets
                alone. None if all clips have T samples.
            scale: the full scale of the samples, such as 32768. None for 1, with a warning if they are far louder.

        Raises:
            ValueError: another shape or type, no samples, a sample that is not finite, a rate that is not a positive
                whole number, a scale that is not a positive number, or lengths that are not of these clips.
        """
        if lengths is None:
            clips = [self.resample(waveform, sample_rate, scale)]
            embedding = self.embed(clips[0])
        else:
            clips = [self.resample(clip[None], sample_rate, scale) for clip in unpad(waveform, lengths)]
            embedding = self.embed_clips(clips)
        if not self.labels:
            return AudioOutput(None, embedding)
        if not self.network.head_of_frames:
            return AudioOutput(self.network.head(embedding), embedding)
        frames = [self.frame_logits(clip, self.sample_rate)[0] for clip in clips]  # (B, N, C), or (1, N', C) each
        return AudioOutput(torch.cat([pool_frames(logits) for logits in frames]), embedding)

    def frame_logits(self, waveform: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
        """Logits of the columns of patches, for a model with a head of frames.

        A clip longer than the model's length is cut into windows, the last of which ends with the clip, see
        `ScoredWindows`.

        Args:
            waveform: see `forward`.
            sample_rate: see `forward`.

        Returns:
            (B, N, C), and (N,), the times of the columns' middles, s.

        Raises:
            ValueError: see `forward`; or the head is one of clips.
        """
        if not self.network.head_of_frames:
            raise ValueError(
                "expected a model with a head of frames, found one of clips; finetune it with model.head=frames "
                "(config/finetuning/events.yaml)"
            )
        waveform = self.resample(waveform, sample_rate)
        scored = self.scored_windows
        windows = scored.cut(waveform)  # (B, K, W)
        logits = self.network.head(self.embed_frames(windows.flatten(0, 1), passes=1))  # (B * K, M, C)
        _, times = self.frame_times(waveform.shape[1], passes=1)
        return scored.join(logits.unflatten(0, windows.shape[:2]), waveform.shape[1]), times.to(waveform.device)

    def scores(self, logits: Tensor) -> Tensor:
        """Logits (..., C) -> probabilities of the classes (..., C)."""
        return logits.sigmoid() if self.target_is_multilabel else logits.softmax(dim=-1)

    def embed(self, waveform: Tensor, max_windows: Optional[int] = MAX_WINDOWS) -> Tensor:
        """(B, T) at the model's rate -> (B, E); max_windows as in `embed_windows`."""
        windows = cut_windows(waveform, self.window_samples, self.window_samples)  # (B, K, W)
        num_samples = torch.full(windows.shape[:2], waveform.shape[1], device=windows.device).flatten()
        embeddings = self.embed_windows(windows.flatten(0, 1), num_samples, max_windows)  # (B * K, E)
        return embeddings.unflatten(0, windows.shape[:2]).mean(dim=1)

    def embed_clips(self, clips: Sequence[Tensor]) -> Tensor:
        """B clips at the model's rate, each (1, T) of its own length -> (B, E), of each what `embed` gives for it."""
        windows = [cut_windows(clip, self.window_samples, self.window_samples)[0] for clip in clips]  # (K, W) each
        counts = [len(part) for part in windows]
        num_samples = torch.tensor([clip.shape[1] for clip, count in zip(clips, counts) for _ in range(count)])
        embeddings = self.embed_windows(torch.cat(windows), num_samples.to(self.device))  # (sum of K, E)
        return torch.stack([part.mean(dim=0) for part in embeddings.split(counts)])

    def embed_windows(
        self, windows: Tensor, num_samples: Optional[Tensor] = None, max_windows: Optional[int] = MAX_WINDOWS
    ) -> Tensor:
        """(B, W) -> (B, E), the pooled embeddings of windows.

        Args:
            windows: at the model's rate.
            num_samples: (B,), how many samples of each window, from its start, are not padding; None for all.
            max_windows: how many windows are encoded together at most; all of them if None.
        """
        size = None if max_windows is None else self.windows_together(max_windows)
        batches = [windows] if size is None else windows.split(size)
        # A finetuned model pools as in training, padding included; the classes of a third-party head may have no names.
        as_trained = not self.layers and (self.labels or self.network.pool_norm is not None)
        if as_trained or num_samples is None:
            return torch.cat([self.network.embed(batch, layers=self.layers) for batch in batches])
        columns = self.network.front_end.grid(windows.shape[1])[1]  # M
        starts = torch.arange(columns, device=windows.device) * self.column_samples  # (M,)
        counted = starts < num_samples[:, None]  # (B, M): the columns that hold sound
        parts = zip(batches, [counted] if size is None else counted.split(size))
        return torch.cat([self.network.embed(batch, counted=part, layers=self.layers) for batch, part in parts])

    def windows_together(self, max_windows: int) -> int:
        """How many of at most max_windows are encoded together on the model's device."""
        return min(max_windows, MAX_WINDOWS_ON_CPU) if self.device.type == "cpu" else max_windows

    def frame_embeddings(
        self, waveform: Tensor, sample_rate: int, passes: int = 1, all_layers: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Embeddings of the columns of patches, or more densely by encoding the clip several times.

        With patches of 16 frames there is one every 160 ms. Each pass shifts the clip by another fraction of a column;
        4 passes give a frame every 40 ms then. A clip longer than the model's length is cut into windows without
        overlap.

        Args:
            waveform: see `forward`.
            sample_rate: see `forward`.
            passes: P, how many times the clip is encoded.
            all_layers: of all layers side by side, instead of those of the model.

        Returns:
            (B, N, W'), the mean over a column's frequencies, or its rows side by side where the pooling keeps them
            apart; and (N,), the time of the column's middle in the clip, s.

        Raises:
            ValueError: see `forward`; or a number of passes that does not divide a column.
        """
        size, hop, margin = self.frame_windows(passes)
        waveform = self.resample(waveform, sample_rate)
        num_samples = waveform.shape[1]
        count = -(-(num_samples + margin) // hop)  # K
        padded = nn.functional.pad(waveform, (margin, max(0, (count - 1) * hop + size - margin - num_samples)))
        windows = padded.unfold(1, size, hop)[:, :count]  # (B, K, samples)
        frames = self.embed_frames(windows.flatten(0, 1), passes, all_layers)  # (B * K, M * P, W')
        frames = frames.unflatten(0, windows.shape[:2]).flatten(1, 2)  # (B, K * M * P, W')
        first, times = self.frame_times(num_samples, passes)
        return frames[:, first : first + len(times)], times.to(waveform.device)

    def frame_windows(self, passes: int) -> tuple[int, int, int]:
        """How `frame_embeddings` cuts a clip: samples per window, from one window to the next, and of zeros before it.

        A window is `margin + W` samples long, so that it holds the W samples of each pass: the first pass starts at its
        first sample, and the last one, which is not shifted, after the margin. Where whole columns fill W to the end,
        the next window starts after it, and this one is as long as that, with samples that no pass takes.

        Returns:
            The samples of a window, the hop, and the margin, all at the model's rate.

        Raises:
            ValueError: a number of passes that does not divide a column.
        """
        if passes < 1 or self.column_samples % passes:
            raise ValueError(
                f"expected a number of passes that divides the {self.column_samples} samples of a column of patches, "
                f"found {passes}"
            )
        columns = self.network.front_end.grid(self.window_samples)[1]  # M; what a window holds after them is not used
        margin = self.column_samples - self.column_samples // passes
        hop = columns * self.column_samples
        return max(margin + self.window_samples, hop), hop, margin

    def embed_frames(self, windows: Tensor, passes: int, all_layers: bool = False) -> Tensor:
        """Windows of `frame_windows`, (B, samples) -> their frames in the order of time, (B, M * P, W')."""
        layers = range(1, len(self.network.encoder.blocks) + 1) if all_layers else self.layers
        together = self.windows_together(MAX_WINDOWS)
        parts = []
        for batch in windows.split(max(1, together // passes)):
            shifted = batch.unfold(1, self.window_samples, self.column_samples // passes)[:, :passes]  # (b, P, W)
            encoded = [self.network.embed_columns(part, layers) for part in shifted.flatten(0, 1).split(together)]
            columns = torch.cat(encoded).unflatten(0, shifted.shape[:2])  # (b, P, M, W')
            parts.append(columns.transpose(1, 2).flatten(1, 2))  # (b, M * P, W')
        return torch.cat(parts)

    def frame_times(self, num_samples: int, passes: int) -> tuple[int, Tensor]:
        """Which of the frames that `embed_frames` gives for the windows of a clip are in the clip.

        Args:
            num_samples: of the clip, at the model's rate.
            passes: P.

        Returns:
            The number of the first frame, and the times of it and of those that follow, float64 (N,), s.
        """
        step = self.column_samples // passes
        offset = self._column_middle - self.frame_windows(passes)[2]  # of frame 0, samples
        first = max(0, -(offset // step))  # the first at 0 or later
        last = max(first + 1, -((offset - num_samples) // step))  # a clip of a few samples has a frame, too
        times = (torch.arange(first, last) * step + offset).double() / self.sample_rate
        return first, times

    def resample(self, waveform: Tensor, sample_rate: int, scale: Optional[float] = None) -> Tensor:
        """Check a batch of clips, and bring it to full scale 1, and to the model's rate and device, float32 (B, T').

        Arguments and errors of `forward`.
        """
        if not isinstance(sample_rate, numbers.Integral) or isinstance(sample_rate, bool) or sample_rate <= 0:
            raise ValueError(f"expected the sample rate as a positive whole number of Hz, found {sample_rate!r}")
        check_waveform(waveform)
        peak = float(waveform.abs().max())
        if not math.isfinite(peak):
            raise ValueError("expected finite samples, found NaN or infinity")
        if waveform.dtype != torch.float64:  # which holds numbers that float32 does not
            waveform = waveform.float()
        if scale is not None:
            if not 0 < scale < math.inf:
                raise ValueError(f"expected the full scale of the samples as a positive number, found {scale!r}")
            waveform, peak = waveform / scale, peak / scale
        if peak > MAX_ABS_SAMPLE:
            raise ValueError(
                f"expected samples with a full scale of 1, found a peak of {peak:.6g} times that; name their scale, "
                "for example scale=32768 for that of int16"
            )
        waveform = waveform.float()
        if scale is None and peak > MAX_PEAK and not self._warned_of_scale:
            self._warned_of_scale = True
            logger.warning(
                f"expected samples with a full scale of 1, found a peak of {peak:.6g}; if they have another, name it, "
                "for example scale=32768 for that of int16"
            )
        if sample_rate != self.sample_rate:
            waveform = resample(waveform, sample_rate, self.sample_rate)
        return waveform.to(self.device)


def load_weights(model: AudioModel, weights: Mapping[str, Tensor], path: str) -> AudioModel:
    """Load the weights of a file into a model, and put it into eval mode.

    Args:
        model: changed in place, and returned.
        weights: of `model.network`, see `check_weights`.
        path: of the file, for messages.

    Raises:
        ValueError: they have no statistics of the log-mel.
    """
    model.network.load_state_dict(weights)
    if not model.network.front_end.has_statistics:
        raise ValueError(
            f"{path}: expected the statistics of the log-mel, found none, as in converted weights of an image model; "
            "finetune the model (model.pretrained), which measures them"
        )
    return model.eval()
