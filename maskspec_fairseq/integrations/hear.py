"""The HEAR 2021 API: https://hearbenchmark.com/hear-api.html. `hear-validator maskspec_fairseq.hear -m CHECKPOINT`.

Shapes: B sounds, T samples, N timestamps, D width.
"""

import torch
from torch import Tensor

from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.inference.load import load_model as load

TIMESTAMP_FRAMES = 4  # of the log-mel per timestamp at most, 40 ms; HEAR asks for 50 ms at most


def load_model(model_file_path: str = "") -> AudioModel:
    """A model for HEAR, with `sample_rate`, `scene_embedding_size` and `timestamp_embedding_size`.

    Args:
        model_file_path: a checkpoint, an exported folder, or the name of weights that come with the package.

    Raises:
        ValueError: no path, or see `maskspec_fairseq.load_model`.
    """
    if not model_file_path:
        raise ValueError(
            "expected a checkpoint or an exported folder as model_file_path, found none; maskspec_tiny_free, for "
            "example, comes with the package"
        )
    model = load(model_file_path)
    for name, size in (("scene_embedding_size", model.embed_dim), ("timestamp_embedding_size", model.frame_dim)):
        setattr(model, name, size)
    return model


def timestamp_passes(model: AudioModel) -> int:
    """How many times a clip is encoded for a timestamp every `TIMESTAMP_FRAMES`: 4 with patches of 16 frames."""
    passes = -(-model.network.patch_size[1] // TIMESTAMP_FRAMES)
    while model.column_samples % passes:
        passes += 1
    return passes


@torch.no_grad()
def get_timestamp_embeddings(audio: Tensor, model: AudioModel) -> tuple[Tensor, Tensor]:
    """(B, T) at the model's rate -> embeddings, float32 (B, N, D), and their times, float32 (B, N), ms."""
    embeddings, times = model.frame_embeddings(audio, model.sample_rate, timestamp_passes(model))
    return embeddings.float(), (1000 * times).float().expand(len(audio), -1)


@torch.no_grad()
def get_scene_embeddings(audio: Tensor, model: AudioModel) -> Tensor:
    """(B, T) at the model's rate -> float32 (B, D)."""
    return model(audio, model.sample_rate).embedding.float()
