"""Waveforms to a padded batch. The log-mel is computed by the model, whose statistics it needs.

Shapes: B clips, T samples.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from transformers import BatchFeature, SequenceFeatureExtractor

from maskspec_fairseq.inference.export_transformers import EXTRACTOR_AUTO_MAP, PADDING_VALUE, STUB, STUB_FILE

logger = logging.getLogger(__name__)
Waveform = Union[np.ndarray, torch.Tensor, Sequence[float]]


class MaskSpecFeatureExtractor(SequenceFeatureExtractor):
    """Pads waveforms of one rate to a batch, and says by `attention_mask` what is not padding.

    Args:
        sampling_rate: of the waveforms, Hz.
        feature_size: 1.
        padding_value: 0, silence.
        **kwargs: passed on to `SequenceFeatureExtractor`.
    """

    model_input_names = ["input_values", "attention_mask"]  # noqa: RUF012, as theirs

    def __init__(
        self,
        sampling_rate: int = 32000,
        feature_size: int = 1,
        padding_value: float = PADDING_VALUE,
        **kwargs: Any,
    ) -> None:
        kwargs["auto_map"] = dict(EXTRACTOR_AUTO_MAP)
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)

    def __call__(
        self,
        raw_speech: Union[Waveform, Sequence[Waveform]],
        sampling_rate: Optional[int] = None,
        padding: Union[bool, str] = True,
        max_length: Optional[int] = None,
        truncation: bool = False,
        return_tensors: Optional[str] = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Pad waveforms to a batch.

        Args:
            raw_speech: floats with a full scale of 1: one waveform, (T,), a batch, (B, T), or a list of waveforms of
                any lengths, each an array, a tensor or a list of numbers.
            sampling_rate: of the waveforms; checked where it is given.
            padding, max_length, truncation: see `SequenceFeatureExtractor.pad`; max_length in samples.
            return_tensors: "pt" for tensors; None or "np" for arrays.
            **kwargs: other arguments of `SequenceFeatureExtractor.pad`.

        Returns:
            `input_values`, float32 (B, T), and `attention_mask`, (B, T), 1 for samples and 0 for padding.

        Raises:
            ValueError: another rate, no waveforms, one without samples, or one that is not of floats.
        """
        if sampling_rate is None:
            logger.warning(
                f"expected sampling_rate with the waveforms, found none; taken to be at {self.sampling_rate} Hz"
            )
        elif sampling_rate != self.sampling_rate:
            raise ValueError(
                f"expected waveforms at {self.sampling_rate} Hz, the model's rate, found {sampling_rate}; resample them"
            )
        clips = {"input_values": split_waveforms(raw_speech)}
        return self.pad(
            BatchFeature(clips),
            padding=padding,
            max_length=max_length,
            truncation=truncation,
            return_tensors=return_tensors,
            **kwargs,
        )

    def save_pretrained(self, save_directory: Union[str, "os.PathLike[str]"], *args: Any, **kwargs: Any) -> list[str]:
        """As theirs; the stub that `auto_map` names is written next to it."""
        written = super().save_pretrained(save_directory, *args, **kwargs)
        Path(save_directory, STUB_FILE).write_text(STUB, encoding="utf-8")
        return written

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = "AutoFeatureExtractor") -> None:
        """Nothing: transformers would copy this file into every saved folder; the stub imports it instead."""


def split_waveforms(raw: Any) -> list[np.ndarray]:
    """One waveform or several -> float32 (T,) each.

    Raises:
        ValueError: see `MaskSpecFeatureExtractor.__call__`.
    """
    clips = list(raw) if isinstance(raw, (list, tuple)) else raw
    if isinstance(clips, list):
        single = bool(clips) and np.ndim(clips[0]) == 0  # a list of numbers
    else:
        single = np.ndim(clips) == 1
    arrays = [_array(clip) for clip in ([clips] if single else clips)]
    if not arrays:
        raise ValueError("expected at least one waveform, found none; leave empty batches out")
    return arrays


def _array(clip: Any) -> np.ndarray:
    if torch.is_tensor(clip):
        clip = clip.detach().cpu()
        clip = (clip.float() if clip.is_floating_point() else clip).numpy()  # numpy has no bfloat16
    array = np.asarray(clip)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"expected waveforms of one channel with samples, (T,), found the shape {array.shape}")
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(
            f"expected waveforms of floats with a full scale of 1, found {array.dtype}; divide them by their full "
            "scale, 32768 for int16"
        )
    return array.astype(np.float32)
