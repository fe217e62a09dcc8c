"""The models of this package as those of transformers.

Weights have the names of an exported folder in files, whoever writes them, so `load_model` reads what `save_pretrained`
and `Trainer` write; within the models a prefix is in front of them.

Shapes: B clips, T samples, E width of an embedding, N frames, W width of a frame, C classes, L patches, K <= L masked
patches that are decoded, P values per patch.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput
from transformers.utils import ModelOutput

from maskspec_fairseq.checkpoints.check import listed
from maskspec_fairseq.inference.audio_model import AudioModel, AudioOutput
from maskspec_fairseq.integrations.transformers.configuration import MaskSpecConfig
from maskspec_fairseq.modules.losses import masked_spectrogram_loss
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder

# Weights that finetuning or pretraining may begin without; all others must be in the file.
NEW = ("head.", "decoder.", "attention_pool.")


class MaskSpecPreTrainedModel(PreTrainedModel):
    """What the models share: loading and saving. A subclass builds its modules in `_build`."""

    config_class = MaskSpecConfig
    base_model_prefix = "network"
    main_input_name = "input_values"
    input_modalities = "audio"
    _supports_sdpa = True

    def __init__(self, config: MaskSpecConfig) -> None:
        super().__init__(config)
        dtype = torch.get_default_dtype()
        with _real_float32():
            self._build(config)
        self.to(dtype)
        self.post_init()

    def _build(self, config: MaskSpecConfig) -> None:
        raise NotImplementedError

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Nothing: the modules have initialised themselves."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As theirs.

        Raises:
            ValueError: weights of the encoder are missing, or the file of the weights is damaged; and see
                `MaskSpecConfig`.
        """
        with_info = kwargs.pop("output_loading_info", False)
        try:
            model, info = super().from_pretrained(
                pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs
            )
        except SafetensorError as error:
            raise ValueError(
                f"{pretrained_model_name_or_path}: expected safetensors, found: {error}; is the file cut off?"
            ) from error
        new = {key if isinstance(key, str) else key[0] for key in (*info["missing_keys"], *info["mismatched_keys"])}
        missing = sorted(key.removeprefix(model.file_prefix) for key in new)
        missing = [key for key in missing if not key.startswith(NEW)]
        if missing:
            raise ValueError(
                f"{pretrained_model_name_or_path}: expected every weight of the encoder that its config describes, "
                f"found none, or another shape, for {listed(missing)}; export the model again"
            )
        model._initialise(new)
        return (model, info) if with_info else model

    def _initialise(self, names: set[str]) -> None:
        """Give the values of a new model to what no file holds: new weights, and the constants of the front end.

        transformers leaves them without values.
        """
        held = self.state_dict()
        values: dict[str, Tensor] = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        config: Any = self.config
        fresh = type(self)(config)
        with torch.no_grad():
            for name, value in (*fresh.named_parameters(), *fresh.named_buffers()):
                if name in names or name not in held:
                    values[name].copy_(value)

    @property
    def file_prefix(self) -> str:
        """What is in front of the names of weights here, and not in files."""
        return f"{self.base_model_prefix}."

    def _asked(self, argument: Optional[bool], name: str) -> bool:
        return bool(getattr(self.config, name) if argument is None else argument)

    def save_pretrained(
        self, save_directory: Any, is_main_process: bool = True, state_dict: Any = None, **kwargs: Any
    ) -> None:
        """As theirs, in the form of an exported folder."""
        weights = self.state_dict() if state_dict is None else state_dict
        files = {name.removeprefix(self.file_prefix): value for name, value in weights.items()}
        super().save_pretrained(save_directory, is_main_process, files, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As torch's; takes the names of files, too, as `Trainer` passes them when it resumes."""
        prefix = self.file_prefix
        named = {name if name.startswith(prefix) else prefix + name: value for name, value in state_dict.items()}
        return super().load_state_dict(named, *args, **kwargs)

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = "AutoModel") -> None:
        """Nothing: transformers would copy this file into every saved folder; the stub imports it instead."""


class _WithAudioModel(MaskSpecPreTrainedModel):
    """What embeds clips: `audio` is what `load_model` returns, around the same `network`."""

    audio: AudioModel
    _keys_to_ignore_on_load_unexpected = [r"^(decoder|head)\."]  # noqa: RUF012, as theirs

    def _build(self, config: MaskSpecConfig) -> None:
        audio = AudioModel(**config.model_arguments())
        self.network = audio.network
        object.__setattr__(self, "audio", audio)  # not as a module, so that weights have one name

    def _audio_output(self, input_values: Tensor, attention_mask: Optional[Tensor]) -> AudioOutput:
        lengths = None if attention_mask is None else lengths_of(attention_mask, input_values)
        return self.audio(input_values, self.config.sampling_rate, lengths)

    def _hidden_states(self, input_values: Tensor, asked: Optional[bool]) -> Optional[tuple[Tensor, ...]]:
        """The frames of each layer, (B, N, W), if they are asked for."""
        if not self._asked(asked, "output_hidden_states"):
            return None
        frames, _ = self.audio.frame_embeddings(input_values, self.config.sampling_rate, all_layers=True)
        return frames.split(self.audio.network.column_dim, dim=2)


class MaskSpecModel(_WithAudioModel):
    """Encoder and pooling: embeddings of clips. `audio` is what `load_model` returns, around the same `network`.

    Args:
        config: with the labels of a finetuned model, or without.

    Raises:
        ValueError: see `MaskSpecConfig`, `AudioModel`.
    """

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Optional[Tensor] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
    ) -> Any:
        """Embeddings of clips, as those of `load_model`; clips of any length.

        Args:
            input_values: float (B, T), at the rate of the config.
            attention_mask: (B, T), 1 for samples and 0 for padding after them; None if nothing is padded.
            output_hidden_states: also return frames, which costs a second pass.
            return_dict: False for a tuple.

        Returns:
            pooler_output: (B, E).
            hidden_states: if asked for, the frames of each layer, (B, N, W), see `AudioModel.frame_embeddings`; those
                of padding are of no use.
            last_hidden_state: the last of them.

        Raises:
            ValueError: see `AudioModel.forward`, or padding that is not at the end.
        """
        embedding = self._audio_output(input_values, attention_mask).embedding
        states = self._hidden_states(input_values, output_hidden_states)
        output = BaseModelOutputWithPooling(
            last_hidden_state=states[-1] if states else None, pooler_output=embedding, hidden_states=states
        )
        return output if self._asked(return_dict, "return_dict") else output.to_tuple()


class MaskSpecForAudioClassification(_WithAudioModel):
    """`MaskSpecModel` with a head, for `id2label`; a head that the file does not have is new.

    `problem_type` of the config says whether a clip has one class (the default) or any number of them
    (`multi_label_classification`). A head of frames gives their maximum over time.

    Args:
        config: with `id2label`, or `num_labels`.

    Raises:
        ValueError: see `MaskSpecModel`; or a config with `layers`, which has no head.
    """

    def _build(self, config: MaskSpecConfig) -> None:
        config.name_labels()
        super()._build(config)

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Optional[Tensor] = None,
        labels: Optional[Tensor] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
    ) -> Any:
        """Logits of clips, as those of `load_model`, and the loss.

        Args:
            input_values, attention_mask, output_hidden_states, return_dict: see `MaskSpecModel.forward`.
            labels: numbers of classes, (B,), for cross-entropy; or with several labels per clip 0 or 1, (B, C), for
                binary cross-entropy, the mean over clips and classes.

        Returns:
            loss: a number, with labels.
            logits: (B, C).
            hidden_states: see `MaskSpecModel.forward`.

        Raises:
            ValueError: see `MaskSpecModel.forward`, or labels of another shape.
        """
        logits = self._audio_output(input_values, attention_mask).logits
        assert logits is not None
        states = self._hidden_states(input_values, output_hidden_states)
        loss = None if labels is None else self._loss(logits, labels)
        output = SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=states)
        return output if self._asked(return_dict, "return_dict") else output.to_tuple()

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        several = self.audio.target_is_multilabel
        expected = tuple(logits.shape) if several else (len(logits),)
        if tuple(labels.shape) != expected or (labels.is_floating_point() and not several):
            raise ValueError(
                f"expected labels of shape {expected} for problem_type {self.config.problem_type!r}, "
                f"{'0 or 1 for each class' if several else 'numbers of classes'}, found {labels.dtype} "
                f"{tuple(labels.shape)}; set problem_type in the config"
            )
        labels = labels.to(logits.device)
        if several:
            return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        return F.cross_entropy(logits, labels)


@dataclass
class MaskSpecForPreTrainingOutput(ModelOutput):
    """What `MaskSpecForPreTraining` returns.

    loss: mean squared error per value of masked patches that hold sound.
    prediction, target: (B, K, P).
    scored: bool (B, K), False for patches of padding, which the loss leaves out.
    mask: bool (B, L), True where masked.
    """

    loss: Optional[Tensor] = None
    prediction: Optional[Tensor] = None
    target: Optional[Tensor] = None
    scored: Optional[Tensor] = None
    mask: Optional[Tensor] = None


class MaskSpecForPreTraining(MaskSpecPreTrainedModel):
    """`MaskedAutoencoder` with its loss. Exported folders have no decoder: that of one is new.

    Before a pretraining from scratch, set the statistics of your corpus:
    `model.network.front_end.set_statistics(mean, std)`.
    """

    _keys_to_ignore_on_load_unexpected = [r"^(head|attention_pool)\."]  # noqa: RUF012, as theirs

    def _build(self, config: MaskSpecConfig) -> None:
        config.drop_head()
        self.network = MaskedAutoencoder(**config.pretraining_arguments())

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Optional[Tensor] = None,
        clip_key: Optional[Tensor] = None,
        seed: Optional[int] = None,
        return_loss: bool = True,
        return_dict: Optional[bool] = None,
    ) -> Any:
        """Hide patches and predict them.

        Args:
            input_values: float (B, T), at the rate of the config.
            attention_mask: (B, T), 1 for samples and 0 for padding after them; None if nothing is padded.
            clip_key: integers (B, 3), (seed, epoch, clip) of each clip, from which its mask is drawn.
            seed: from which masks are drawn if there are no keys; None for another one in each step of a training, by
                torch's generator, and 0 otherwise.
            return_loss: the loss is always computed; `Trainer` looks for the argument when it evaluates without labels.
            return_dict: False for a tuple.

        Raises:
            ValueError: see `MaskedAutoencoder.forward`, or padding that is not at the end.
        """
        lengths = None if attention_mask is None else lengths_of(attention_mask, input_values)
        output = self.network(input_values.float(), lengths, self._keys(len(input_values), clip_key, seed))
        total, count = masked_spectrogram_loss(output["prediction"], output["target"], output["scored"])
        result = MaskSpecForPreTrainingOutput(loss=total / count.clamp(min=1), **output)
        return result if self._asked(return_dict, "return_dict") else result.to_tuple()

    def _keys(self, clips: int, clip_key: Optional[Tensor], seed: Optional[int]) -> np.ndarray:
        """(B, 3)."""
        if clip_key is not None:
            keys = torch.as_tensor(clip_key).cpu().numpy()
            if keys.shape != (clips, 3) or not np.issubdtype(keys.dtype, np.integer) or keys.min() < 0:
                raise ValueError(
                    f"expected clip_key as whole numbers from 0, (seed, epoch, clip) for each of {clips} clips, found "
                    f"{keys.dtype} {keys.shape}"
                )
            return keys
        if seed is None:
            seed = int(torch.randint(2**31, ())) if self.training else 0
        return np.array([(seed, 0, clip) for clip in range(clips)])


def lengths_of(attention_mask: Tensor, input_values: Tensor) -> Tensor:
    """(B, T) of 1 for samples, and 0 for padding -> (B,), how many samples each clip has.

    Raises:
        ValueError: another shape, or padding that is not at the end.
    """
    mask = attention_mask.bool()
    lengths = mask.sum(dim=1)
    after = torch.arange(mask.shape[1], device=mask.device) < lengths[:, None]
    if mask.shape != input_values.shape[:2] or not torch.equal(mask, after):
        raise ValueError(
            f"expected attention_mask of the shape {tuple(input_values.shape)} with padding at the end of clips alone, "
            f"found {tuple(mask.shape)}; take that of the feature extractor, with padding_side='right'"
        )
    return lengths


@contextmanager
def _real_float32() -> Iterator[None]:
    """Build modules in float32 on the CPU, with values.

    `from_pretrained` builds them without, and in its own dtype, but filters and windows are computed as they are built.
    """
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)
