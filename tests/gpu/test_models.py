"""Front ends and trained models on the device, against the CPU."""

import numpy as np
import pytest
import torch

from maskspec_fairseq.inference.load import load_model
from maskspec_fairseq.modules.front_ends import FRONT_ENDS
from maskspec_fairseq.modules.log_mel import LogMel
from tests.factories import noise, save_finetuned, tagging_model

pytestmark = pytest.mark.gpu

BOUND = 1e-3
RATES = {"narrowband": 8000, "audiomae": 16000}  # Hz; the others' is 32000


@pytest.mark.parametrize("name, mel_jitter", [*((name, False) for name in FRONT_ENDS), ("reference", True)])
def test_the_front_end_is_that_of_a_cpu(device, name, mel_jitter):
    rate = RATES.get(name, 32000)
    front_end = LogMel(name, rate, mel_jitter=mel_jitter)
    waveform = noise(2 * rate, clips=3)
    # a tone with a noise floor as recordings have: of a pure one the bins far above hold rounding errors alone
    waveform[1] = 0.1 * torch.sin(2 * np.pi * 440 / rate * torch.arange(2 * rate)) + 0.01 * waveform[0]
    waveform[2] = 0
    keys = np.array([[1, 1, clip] for clip in range(3)])
    expected = front_end(waveform, keys)
    found = front_end.to(device)(waveform.to(device), keys)
    assert found.device.type == device
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=BOUND)


def test_a_loaded_model_moves_to_the_device(device, tmp_path):
    path, _ = save_finetuned(tmp_path / "model.pt", seed=1)
    on_cpu, moved = load_model(path), load_model(path).to(device)
    waveform = noise(40000, clips=3)  # longer than the model's clips
    for lengths in (None, [40000, 16000, 5000]):
        with torch.inference_mode():
            expected, found = on_cpu(waveform, 32000, lengths), moved(waveform.to(device), 32000, lengths)
        assert found.embedding.device.type == device
        torch.testing.assert_close(found.embedding.cpu(), expected.embedding, rtol=0, atol=BOUND)
        torch.testing.assert_close(moved.scores(found.logits).cpu(), on_cpu.scores(expected.logits), rtol=0, atol=BOUND)
    with torch.inference_mode():
        (expected, times), (found, moved_times) = (
            model.frame_embeddings(waveform.to(model.device), 32000, passes=2) for model in (on_cpu, moved)
        )
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=BOUND)
    torch.testing.assert_close(moved_times.cpu(), times)


def test_onnx_runs_on_the_device(device, tmp_path):
    if device == "cpu":
        pytest.skip("ONNX on a CPU is tested by tests/unit/inference/test_audio_model.py")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    from maskspec_fairseq.inference.export_onnx import write_onnx

    provider = "CUDAExecutionProvider"
    if provider not in runtime.get_available_providers():
        pytest.skip(f"this onnxruntime has no {provider}; onnxruntime-gpu has")
    model = tagging_model()
    write_onnx(model, str(tmp_path / "model.onnx"))
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"), providers=[provider])
    assert session.get_providers()[0] == provider  # onnxruntime falls back to the CPU with a warning
    waveform = noise(40000)
    with torch.inference_mode():
        expected = model(waveform, 32000)
    logits, embedding = (torch.from_numpy(value) for value in session.run(None, {"waveform": waveform.numpy()}))
    torch.testing.assert_close(embedding, expected.embedding, rtol=0, atol=BOUND)
    torch.testing.assert_close(model.scores(logits), model.scores(expected.logits), rtol=0, atol=BOUND)
