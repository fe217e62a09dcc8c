"""The program of `maskspec-export --torch-export` runs where there is torch and nothing of ours."""

import subprocess
import sys

import pytest
import torch

from maskspec_fairseq.cli import export
from maskspec_fairseq.inference.export_folder import write_folder
from tests.factories import MODEL_LABELS, noise, small_audio_model

RATE = 32000
WITHOUT_US = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("maskspec_fairseq", "fairseq", "torchaudio"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
import torch

program = torch.export.load("n/model.pt2").module()
torch.save([program(torch.load(f"{clips}.pt")) for clips in (1, 3)], "outputs.pt")
assert "maskspec_fairseq" not in sys.modules
try:
    program(torch.zeros(1, 16000))
except Exception as error:
    print(type(error).__name__)
"""
READOUTS = [([], []), (["--pool", "frequency+std", "--layers", "1,2"], ["frequency+std", [1, 2]])]


@pytest.mark.parametrize("readout, arguments", [READOUTS[0], pytest.param(*READOUTS[1], marks=pytest.mark.slow)])
@torch.inference_mode()
def test_torch_alone_gives_the_models_outputs_and_refuses_another_length(tmp_path, readout, arguments):
    model = small_audio_model(MODEL_LABELS)
    write_folder(model, str(tmp_path / "m"))
    words = ["--checkpoint", str(tmp_path / "m"), "--out", str(tmp_path / "n"), "--torch-export", *readout]
    assert export.main(words) == 0
    if arguments:
        model.read_out(*arguments)
    for clips in (1, 3):
        torch.save(noise(RATE, clips), tmp_path / f"{clips}.pt")
    command = [sys.executable, "-c", WITHOUT_US]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.strip() in ("AssertionError", "RuntimeError"), done.stdout + done.stderr
    for clips, outputs in zip((1, 3), torch.load(tmp_path / "outputs.pt")):
        expected = model(noise(RATE, clips), RATE)
        assert set(outputs) == ({"embedding"} if readout else {"logits", "embedding"})
        for name, value in outputs.items():
            torch.testing.assert_close(value, getattr(expected, name), atol=1e-5, rtol=1e-5)


def test_a_head_of_frames_is_refused_before_anything_is_written(tmp_path, capsys):
    write_folder(small_audio_model(head="frames"), str(tmp_path / "m"))
    words = ["--checkpoint", str(tmp_path / "m"), "--out", str(tmp_path / "n"), "--torch-export"]
    assert export.main(words) == 2 and not (tmp_path / "n").exists()
    assert (
        "expected a model with a head of clips for --torch-export, found model.head=frames" in capsys.readouterr().err
    )
