"""The front ends by name: what each of them computes of a waveform. Plain values, no torch.

Sources: MaskSpec, arXiv:2204.12768, section 3.1 ("paper"), and its released code ("reference"); AudioMAE,
arXiv:2207.06405, and its code ("audiomae"). "narrowband" is ours.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Optional


@dataclass(frozen=True)
class FrontEnd:
    """The numbers of a log-mel spectrogram.

    Args:
        framing: "centred" frames around the multiples of the hop, or "kaldi" frames that begin there.
        window: "hamming" or "hann_symmetric".
        n_fft, win_length, hop_length: samples.
        preemphasis: share of the previous sample that is subtracted from each one, 0 for none.
        mel_scale: "slaney" or "kaldi", see `mel_banks.py`.
        n_mels: F, number of mel bins.
        f_min, f_max: Hz, the outer edges of the filters.
        log_offset: added to the power before the logarithm.
        log_shift, log_scale: the log-mel is (log(power + log_offset) + log_shift) / log_scale.
        hidden_log_power: log(power) of what SpecAugment hides; None for each bin's mean.
    """

    name: str
    framing: str
    window: str
    n_fft: int
    win_length: int
    hop_length: int
    preemphasis: float
    mel_scale: str
    n_mels: int
    f_min: float
    f_max: float
    log_offset: float
    log_shift: float = 0.0
    log_scale: float = 1.0
    hidden_log_power: Optional[float] = None

    def settings(self) -> dict[str, Any]:
        """What `mel_stats.json` says of a front end; its name there is `profile`, as in the files of version 0.1."""
        settings = asdict(self)
        settings["profile"] = settings.pop("name")
        for name in ("framing", "hidden_log_power"):  # the one follows from the name, the other comes after statistics
            del settings[name]
        return settings


# The paper gives the Hamming window of 1024, the hop of 320 and the 128 filters. It is silent on the filters' range and
# scale: these are PANNs', whose framing it shares (arXiv:1912.10211). The offset is the released code's.
PAPER = FrontEnd(
    "paper", framing="centred", window="hamming", n_fft=1024, win_length=1024, hop_length=320, preemphasis=0.0,
    mel_scale="slaney", n_mels=128, f_min=50.0, f_max=14000.0, log_offset=1e-5,
)  # fmt: skip
REFERENCE = FrontEnd(
    "reference", framing="centred", window="hann_symmetric", n_fft=1024, win_length=800, hop_length=320,
    preemphasis=0.97, mel_scale="kaldi", n_mels=128, f_min=0.0, f_max=15000.0, log_offset=1e-5, log_shift=4.5,
    log_scale=5.0, hidden_log_power=0.0,
)  # fmt: skip
# Kaldi's log-mel filter banks at 16 kHz. AudioMAE subtracts the clip's mean first; here each frame loses its own mean.
AUDIOMAE = FrontEnd(
    "audiomae", framing="kaldi", window="hann_symmetric", n_fft=512, win_length=400, hop_length=160, preemphasis=0.97,
    mel_scale="kaldi", n_mels=128, f_min=20.0, f_max=8000.0, log_offset=0.0,
)  # fmt: skip
# The paper's, scaled to speech of 8 kHz: four rows of patches of 80 ms, where "paper" at 32 kHz has eight of 160 ms, of
# which almost three are empty.
NARROWBAND = replace(PAPER, name="narrowband", n_fft=256, win_length=256, hop_length=40, n_mels=64, f_max=4000.0)

FRONT_ENDS: dict[str, FrontEnd] = {params.name: params for params in (PAPER, REFERENCE, AUDIOMAE, NARROWBAND)}
