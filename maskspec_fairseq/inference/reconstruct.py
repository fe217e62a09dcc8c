"""What a pretrained model makes of the hidden patches of a clip, as spectrograms and as sound.

Shapes: T samples, F mel bins, S frames, K = n_fft // 2 + 1 frequency bins, L patches, N masked, P values per patch.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from maskspec_fairseq.modules.framing import WINDOWS
from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.modules.masking import gather_tokens, random_masking, split_by_mask
from maskspec_fairseq.modules.mel_banks import import_torchaudio, mel_centres_hz
from maskspec_fairseq.modules.patches import patchify, unpatchify
from maskspec_fairseq.plots import draw_reconstruction

GRIFFIN_LIM_ITERATIONS = 60


@dataclass
class Reconstruction:
    """Three log-mel spectrograms of a clip, dB, (F, S), and how good the third is.

    masked is NaN where patches are hidden; restored holds the visible patches and, between them, the predictions.
    loss and baseline_loss are squared errors per normalised value of the masked patches: the model's, and that of
    always predicting their mean.
    """

    original: np.ndarray
    masked: np.ndarray
    restored: np.ndarray
    loss: float
    baseline_loss: float


@torch.no_grad()
def reconstruct(
    model: MaskedAutoencoder, waveform: Tensor, num_samples: int, mask_ratio: float, seed: int
) -> Reconstruction:
    """Hide patches of one clip and predict them.

    Args:
        model: in eval mode.
        waveform: float32 (T,), on the model's device.
        num_samples: samples before the padding.
        mask_ratio: share of the patches that is hidden.
        seed: draws the mask.

    Raises:
        ValueError: a mask ratio outside the paper's range, or a clip that is too short.
    """
    front_end = model.front_end
    patches = patchify(front_end(waveform[None]), model.patch_size)  # (1, F, S) -> (1, L, P)
    grid = front_end.grid(len(waveform))
    mask = random_masking(np.array([[seed, 0, 0]]), patches.shape[1], mask_ratio)  # (1, L)
    output = model(waveform[None], torch.tensor([num_samples], device=waveform.device), mask=mask)
    hidden = split_by_mask(mask)[1].to(patches.device)  # (1, N)
    prediction = model.denormalise_prediction(output["prediction"], gather_tokens(patches, hidden))  # (1, N, P)
    masked, restored = patches.clone(), patches.clone()
    masked[0, hidden[0]] = float("nan")
    restored[0, hidden[0]] = prediction[0]
    scored = output["scored"]  # (1, N)
    target = output["target"][scored]  # (scored, P)
    loss = (output["prediction"][scored] - target).square().mean()
    baseline_loss = target.var(unbiased=False)
    original_db, masked_db, restored_db = (
        front_end.to_decibels(unpatchify(part, grid, model.patch_size))[0].cpu().numpy()
        for part in (patches, masked, restored)
    )  # (1, L, P) -> (F, S)
    return Reconstruction(original_db, masked_db, restored_db, float(loss), float(baseline_loss))


def check_invertible(front_end: LogMel) -> None:
    """Check that `to_waveform` knows the way back from a front end.

    Raises:
        ValueError: Kaldi's framing, which removes each frame's mean and pre-emphasises each frame separately.
    """
    if front_end.params.framing != "centred":
        raise ValueError(
            f"expected a front end with centred frames to make sound of, found {front_end.params.name!r} with the "
            f"framing of {front_end.params.framing!r}; leave --wav out, the picture needs none"
        )


@torch.no_grad()
def to_waveform(front_end: LogMel, decibels: np.ndarray) -> np.ndarray:
    """Make a log-mel spectrogram audible, within the limits that docs/reconstruct.md names.

    The spectrum of each frame is the smallest whose mel powers are those given (least squares, negative values set to
    0), phases are those of Griffin and Lim, from a random start that is always the same; pre-emphasis is undone.
    Sources: `torchaudio.transforms.InverseMelScale`, with the front end's own filters; "A fast Griffin-Lim algorithm",
    Perraudin et al., WASPAA 2013, as `torchaudio.transforms.GriffinLim`.

    Args:
        front_end: the one that the spectrogram is of.
        decibels: (F, S), power of each mel bin in dB as of `LogMel.to_decibels`; NaN is silence.

    Returns:
        float32 ((S - 1) * hop_length,), at the front end's sample rate.

    Raises:
        ValueError: see `check_invertible`.
        ImportError: torchaudio does not import; the message has the cure.
    """
    check_invertible(front_end)
    torchaudio = import_torchaudio()
    params = front_end.params
    power = torch.from_numpy(np.power(10.0, decibels / 10).astype(np.float32))  # of each mel bin, (F, S)
    power = (power - params.log_offset).clamp(min=0).nan_to_num(0.0)
    inverse_mel = torchaudio.transforms.InverseMelScale(
        params.n_fft // 2 + 1, params.n_mels, front_end.sample_rate, params.f_min, params.f_max, driver="gelsd"
    )
    inverse_mel.fb = front_end.mel_banks.mT.cpu().contiguous()  # (K, F): not the filters that the class knows
    griffin_lim = torchaudio.transforms.GriffinLim(
        params.n_fft, GRIFFIN_LIM_ITERATIONS, params.win_length, params.hop_length, WINDOWS[params.window], power=2.0
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        waveform = griffin_lim(inverse_mel(power))  # (F, S) -> (K, S) -> (T,)
    if params.preemphasis:
        waveform = torchaudio.functional.deemphasis(waveform, params.preemphasis)
    return waveform.numpy()


def losses(result: Reconstruction) -> str:
    """The two losses in words."""
    return (
        f"squared error per masked value: model {result.loss:.4f}, always predicting their mean "
        f"{result.baseline_loss:.4f}"
    )


def draw(result: Reconstruction, front_end: LogMel, title: str, path: Path) -> None:
    """Draw the three spectrograms of a file into a PNG."""
    params = front_end.params
    draw_reconstruction(
        {"original": result.original, "masked input": result.masked, "reconstruction": result.restored},
        mel_centres_hz(params.mel_scale, params.n_mels, front_end.sample_rate, params.f_min, params.f_max),
        front_end.hop_length / front_end.sample_rate,
        f"{title}\n{losses(result)}",
        str(path),
    )


def sounds(result: Reconstruction, front_end: LogMel) -> dict[str, np.ndarray]:
    """The three spectrograms as waveforms, at one level that none of them exceeds full scale with."""
    spectrograms = {"original": result.original, "masked": result.masked, "reconstruction": result.restored}
    waveforms = {name: to_waveform(front_end, spectrogram) for name, spectrogram in spectrograms.items()}
    peak = max(1.0, *(float(np.abs(waveform).max()) for waveform in waveforms.values()))
    return {name: waveform / peak for name, waveform in waveforms.items()}
