"""The page of a pretrained model: a clip, the clip with patches hidden, and what the model makes of that."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Optional

import gradio
import numpy as np
import torch

from maskspec_fairseq.audio.read import load_clip
from maskspec_fairseq.inference.reconstruct import Reconstruction, check_invertible, draw, reconstruct, sounds
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.page.blocks import FAILURES, add_inputs, add_said, listen, new_page, say, say_failure
from maskspec_fairseq.page.figures import one_at_a_time
from maskspec_fairseq.page.overview import length_sec
from maskspec_fairseq.page.server import new_file

SEED = 1  # draws the mask, as in maskspec-reconstruct
SOUND = (
    "Both sounds are made from log-mels, whose phase is guessed (Griffin and Lim, by torchaudio): compare them with "
    "each other, not with the file."
)


class Clip(NamedTuple):
    """The beginning of a file: its name, float32 samples (T,), and how many of them are not padding."""

    name: str
    samples: np.ndarray
    num_samples: int


def reconstruction_page(
    model: MaskedAutoencoder, name: str, clip_sec: float, channel: str, folder: Path
) -> gradio.Blocks:
    """The page.

    Args:
        model: in eval mode.
        name: of the model, for the title.
        clip_sec: s, of a file that are used.
        channel: of a file, see `mix_down`.
        folder: of `upload_folder`.
    """
    front_end = model.front_end
    no_sound = ""
    try:
        check_invertible(front_end)
    except ValueError:
        no_sound = f"There is no sound: what the front end {front_end.params.name} computes cannot be undone."

    def shown(clip: Clip, mask_ratio: float) -> dict[Any, Any]:
        waveform = torch.from_numpy(clip.samples).to(front_end.mel_mean.device)
        result = reconstruct(model, waveform, clip.num_samples, mask_ratio, SEED)
        path = new_file(folder, f"{Path(clip.name).stem}.png")
        with one_at_a_time:
            draw(result, front_end, clip.name, path)
        return {picture: str(path), **heard(result)}

    def heard(result: Reconstruction) -> dict[Any, Any]:
        if no_sound:
            return {}
        waveforms = sounds(result, front_end)
        return {player: as_int16(front_end.sample_rate, waveforms[part]) for part, player in players.items()}

    def analyse(path: Optional[str], mask_ratio: float) -> Iterator[dict[Any, Any]]:
        if path is None:
            return
        name = Path(path).name
        empty: dict[Any, Any] = {picture: None, **dict.fromkeys(players.values())}
        yield {said: say(f"{name}: reading"), kept: None, **empty}
        try:
            seconds = length_sec(path)
            clip = Clip(name, *load_clip(path, front_end.sample_rate, clip_sec, channel))
            results = shown(clip, mask_ratio)
        except FAILURES as error:
            yield {said: say_failure(error, path), file: None, **empty}
            return
        used = f", of which the first {clip_sec:g} s are used" if seconds > clip_sec else ""
        yield {said: say(f"{name}: {seconds:.2f} s{used}"), kept: clip, file: None, **results}

    def redo(clip: Optional[Clip], mask_ratio: float) -> dict[Any, Any]:
        return {picture: gradio.skip()} if clip is None else shown(clip, mask_ratio)

    with new_page(f"Reconstruction by {name}") as page:
        file, recording = add_inputs(
            f"Reconstruction by {name}",
            f"Patches of the first {clip_sec:g} s of a file are hidden, and predicted from the others.",
        )
        said = add_said()
        mask_ratio = gradio.Slider(0.05, 0.95, model.mask_ratio, step=0.05, label="Mask ratio", elem_id="mask-ratio")
        picture = gradio.Image(
            show_label=False, interactive=False, format="png",
            buttons=["download", "fullscreen"], elem_id="picture",
        )  # fmt: skip
        players: dict[str, gradio.Audio] = {}
        if not no_sound:
            with gradio.Row():
                for part, label in (("original", "The original's log-mel"), ("reconstruction", "The reconstruction")):
                    players[part] = gradio.Audio(label=label, interactive=False, buttons=["download"], elem_id=part)
        gradio.HTML(say(no_sound or SOUND), padding=False)
        kept = gradio.State()
        results = [picture, *players.values()]
        listen(
            file, recording, analyse, [mask_ratio], [said, kept, *results, file], concurrency_id="model",
            concurrency_limit=1, show_progress_on=[picture],
        )  # fmt: skip
        mask_ratio.change(
            redo, [kept, mask_ratio], results, trigger_mode="always_last", api_visibility="private",
            concurrency_id="model", show_progress_on=[picture],
        )  # fmt: skip
    return page


def as_int16(sample_rate: int, waveform: np.ndarray) -> tuple[int, np.ndarray]:
    """A waveform up to full scale 1 as gradio plays it at its own level: of floats it would raise the peak to 1."""
    return sample_rate, np.round(32767 * waveform).astype(np.int16)
