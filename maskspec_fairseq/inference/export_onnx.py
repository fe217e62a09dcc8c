"""Write a whole model, log-mel included, as one ONNX file, for any number of waveforms of any length.

Shapes: B clips, T samples, D width, C classes.
"""

import torch
from torch import Tensor, nn

from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.inference.export_folder import check_head_of_clips


class _Traced(nn.Module):
    """`AudioModel.forward` at the model's rate, all windows in one batch: (B, T) -> [(B, C),] (B, D)."""

    def __init__(self, model: AudioModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveform: Tensor) -> tuple[Tensor, ...]:
        embedding = self.model.embed(waveform, max_windows=None)
        return (self.model.network.head(embedding), embedding) if self.model.labels else (embedding,)


def check_onnx(model: AudioModel) -> None:
    """Check that a model can be written as ONNX, here.

    Raises:
        ImportError: the packages for it are not installed.
        ValueError: see `check_head_of_clips`.
    """
    check_head_of_clips(model, "--onnx")
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"expected the packages that write ONNX, found: {error}; `pip install 'maskspec-fairseq[onnx]'`"
        ) from error


def write_onnx(model: AudioModel, path: str) -> None:
    """Write a model.

    The input of the ONNX model is `waveform`, float32 (B, T), at the model's rate; its outputs are `logits` (B, C), if
    the model has a head, and `embedding` (B, D).

    Args:
        model: in eval mode, on the CPU.
        path: of the file.

    Raises:
        ImportError, ValueError: see `check_onnx`.
        OSError: the file cannot be written.
    """
    check_onnx(model)
    # Sizes that equal neither those of a window nor those of a batch, which the export would take for constants.
    example = torch.zeros(2, model.window_samples + model.window_samples // 4)
    traced = _Traced(model).eval()
    with torch.no_grad():
        traced(example)  # computes the positions, which the export would warn of as an attribute that it sees change
    program = torch.onnx.export(
        traced,
        (example,),
        dynamo=True,
        verbose=False,
        input_names=["waveform"],
        output_names=["logits", "embedding"] if model.labels else ["embedding"],
        dynamic_shapes={"waveform": {0: torch.export.Dim("clips"), 1: torch.export.Dim("samples")}},
    )
    if program is None:  # so torch's annotation has it
        raise RuntimeError("expected an ONNX program from torch.onnx.export, found none; try another release of torch")
    program.save(path)
