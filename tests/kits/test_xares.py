"""xares runs a task of its own form on our encoder: encoding, the linear layer that it calls MLP, and neighbours."""

import io
import tarfile

import numpy as np
import pytest
import soundfile
import torch

pytest.importorskip("xares", reason="xares is not installed: make test-kits")
torchaudio = pytest.importorskip("torchaudio")

from maskspec_fairseq.integrations.xares import MaskSpecEncoder  # noqa: E402
from tests.kits.fsdd import write_xares_task  # noqa: E402

ENCODER = """from maskspec_fairseq.integrations import xares


class {name}Encoder(xares.MaskSpecEncoder):
    def __init__(self):
        super().__init__("{path}")
"""


def test_xares_scores_digits(models, fsdd, run_kit, tmp_path):
    write_xares_task(fsdd, tmp_path)
    for name, path in models.items():
        (tmp_path / f"{name.lower()}_encoder.py").write_text(ENCODER.format(name=name, path=path))
        run_kit(tmp_path, "-m", "xares.run", "--max-jobs", "0", f"{name.lower()}_encoder.py", "fsdd_task.py")
        scores = tmp_path / "env/fsdd/checkpoints" / f"{name}Encoder"
        mlp, knn = (float((scores / f"{kind}_score.txt").read_text().split()[0]) for kind in ("mlp", "knn"))
        print(f"xares, digits of FSDD, accuracy: {name}: MLP {mlp:.4f}, neighbours {knn:.4f}")
        assert mlp > 0.15  # chance is 0.1, with a standard deviation of 0.017
        assert_frames_are_the_encoders(tmp_path / "env/fsdd/embeddings" / f"{name}Encoder", path, fsdd)


def assert_frames_are_the_encoders(folder, path, fsdd):
    """What xares stored for a clip begins with the clip's own frames; it pads clips to the longest of a batch."""
    clip, rate = soundfile.read(fsdd / "recordings/0_george_0.wav", dtype="float32")
    encoder = MaskSpecEncoder(path)
    audio = torchaudio.functional.resample(torch.from_numpy(clip)[None], rate, encoder.sampling_rate)
    frames = encoder(audio)[0].numpy()
    (file,) = folder.glob("wds-encoded-test*.tar")
    with tarfile.open(file) as tar:
        (name,) = (name for name in tar.getnames() if name.startswith("0_george_0") and name.endswith(".npy"))
        stored = np.load(io.BytesIO(tar.extractfile(name).read()))
    np.testing.assert_allclose(stored[: len(frames)], frames, atol=1e-3)
