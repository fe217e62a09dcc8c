"""A whole model, log-mel included, as one ONNX file: waveforms of any number and length in, at the model's rate.

Shapes: B clips, T samples, D width, C classes.
"""

from typing import Tuple

import torch
from torch import Tensor, nn

from maskspec_fairseq.inference.audio_model import AudioModel


class _Traced(nn.Module):
    """`AudioModel.forward` for one rate, all windows at once: (B, T) -> [(B, C),] (B, D)."""

    def __init__(self, model: AudioModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveform: Tensor) -> Tuple[Tensor, ...]:
        embedding = self.model.embed(waveform, max_windows=None)
        return (self.model.network.head(embedding), embedding) if self.model.labels else (embedding,)


def write_onnx(model: AudioModel, path: str) -> None:
    """Write a model in eval mode, on the CPU.

    Its input is `waveform`, float32 (B, T), at the model's rate; its outputs are `logits` (B, C), where it has a head,
    and `embedding` (B, D).

    Raises:
        ImportError: the packages for it are not there.
        OSError: the file cannot be written.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"expected the packages that write ONNX, found: {error}; `pip install 'maskspec-fairseq[onnx]'` brings them"
        ) from error
    # Neither size is one that a window or a batch could be taken for.
    example = torch.zeros(2, model.window_samples + model.window_samples // 4)
    program = torch.onnx.export(
        _Traced(model).eval(),
        (example,),
        dynamo=True,
        verbose=False,
        input_names=["waveform"],
        output_names=["logits", "embedding"] if model.labels else ["embedding"],
        dynamic_shapes={"waveform": {0: torch.export.Dim("clips"), 1: torch.export.Dim("samples")}},
    )
    program.save(path)
