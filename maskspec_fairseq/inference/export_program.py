"""Write a whole model, log-mel included, as a program of `torch.export`, which torch alone loads and runs.

Shapes: B clips, W samples of a window, E width of the embedding, C classes.
"""

import torch
from torch import Tensor, nn

from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.inference.export_folder import check_head_of_clips


class _Window(nn.Module):
    """`AudioModel.forward` for clips of the model's length and rate: (B, W) -> logits (B, C), embedding (B, E)."""

    def __init__(self, model: AudioModel) -> None:
        super().__init__()
        self.network = model.network
        self.layers = model.layers
        self.has_head = bool(model.labels)

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        embedding = self.network.embed(waveform, layers=self.layers)
        logits = {"logits": self.network.head(embedding)} if self.has_head else {}
        return {**logits, "embedding": embedding}


def write_program(model: AudioModel, path: str) -> None:
    """Write a model by `torch.export.save`.

    The program takes a waveform, float32 (B, W), any number of clips of the model's length (`clip_sec`) at its rate,
    and gives a dictionary: `logits` (B, C), if the model has a head, and `embedding` (B, E).

    Args:
        model: in eval mode, on the CPU.
        path: of the file, which ends in .pt2.

    Raises:
        ValueError: see `check_head_of_clips`.
        OSError: the file cannot be written.
    """
    check_head_of_clips(model, "--torch-export")
    example = torch.zeros(2, model.window_samples)
    window = _Window(model).eval()
    with torch.no_grad():
        window(example)  # computes the positions, which the export would warn of as an attribute that it sees change
        program = torch.export.export(window, (example,), dynamic_shapes=({0: torch.export.Dim("clips")},))
    torch.export.save(program, path)
