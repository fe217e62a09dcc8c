"""The model of the upstream `maskspec`. Its interface: s3prl/upstream/example/expert.py.

Shapes: B clips, N frames, W' width of a frame.
"""

from typing import Optional, Union

from s3prl.upstream.interfaces import SAMPLE_RATE, UpstreamBase
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from maskspec_fairseq.inference.load import load_model


class UpstreamExpert(UpstreamBase):
    """A trained model for s3prl.

    Args:
        ckpt: checkpoint of a run, or a folder of maskspec-export.
        model_config: passed by s3prl, and not used: a checkpoint holds its own.
        **kwargs: passed on to `UpstreamBase`.
    """

    def __init__(self, ckpt: str, model_config: Optional[str] = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.model = load_model(ckpt)

    def get_downsample_rates(self, key: str) -> int:
        """Samples at 16 kHz from one frame to the next: 2560, 160 ms, with patches of 16 frames."""
        return self.model.column_samples * SAMPLE_RATE // self.model.sample_rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Union[Tensor, list[Tensor]]]:
        """Waveforms at 16 kHz, each (T,) -> the outputs of all layers, each (B, N, W'), and the last of them.

        N is the longest T over the downsample rate, rounded up: s3prl repeats the last frame where one is missing, and
        refuses a single frame where it expects two.
        """
        resampled = [self.model.resample(wav[None], SAMPLE_RATE)[0] for wav in wavs]  # of padding the filter would ring
        waveform = pad_sequence(resampled, batch_first=True)
        columns = -(-max(map(len, wavs)) // self.get_downsample_rates("hidden_states"))
        waveform = pad(waveform, (0, max(0, columns * self.model.column_samples - waveform.shape[1])))
        frames, _ = self.model.frame_embeddings(waveform, self.model.sample_rate, all_layers=True)
        layers = list(frames.split(self.model.network.column_dim, dim=2))
        return {"last_hidden_state": layers[-1], "hidden_states": layers}
