import numpy as np
import pytest
import torch

from maskspec_fairseq.modules.losses import masked_spectrogram_loss


def test_is_the_sum_of_squared_distances_of_equation_1():
    rng = np.random.default_rng(0)
    prediction, target = rng.standard_normal((2, 3, 5, 16))
    loss, count = masked_spectrogram_loss(
        torch.tensor(prediction), torch.tensor(target), torch.ones(3, 5, dtype=torch.bool)
    )
    expected = sum(np.linalg.norm(target[b, i] - prediction[b, i]) ** 2 for b in range(3) for i in range(5))
    assert float(loss) == pytest.approx(expected)
    assert int(count) == 3 * 5 * 16


def test_padding_has_no_share_in_loss_count_or_gradient():
    prediction = torch.randn(2, 4, 16, requires_grad=True)
    target = torch.randn(2, 4, 16, requires_grad=True)
    scored = torch.tensor([[True, True, True, True], [True, False, False, False]])
    loss, count = masked_spectrogram_loss(prediction, target, scored)
    loss.backward()
    assert int(count) == 5 * 16
    assert (prediction.grad[~scored] == 0).all() and (target.grad[~scored] == 0).all()
    assert (prediction.grad[scored] != 0).all()
    assert torch.allclose(prediction.grad[scored], 2 * (prediction - target).detach()[scored])


def test_half_predictions_are_scored_in_float32():
    prediction = torch.full((4, 300, 256), 20.0, dtype=torch.float16)
    loss, _ = masked_spectrogram_loss(prediction, torch.zeros(4, 300, 256), torch.ones(4, 300, dtype=torch.bool))
    assert loss.dtype == torch.float32 and float(loss) == pytest.approx(400 * 4 * 300 * 256)  # far over 65504
