from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq import metrics
from torch import nn

from maskspec_fairseq.criterions.maskspec_classification import MaskSpecClassificationCriterion
from maskspec_fairseq.modules.losses import binary_cross_entropy, smooth, soft_cross_entropy


def make(multilabel=False, smoothing=0.0, normalise_by="known"):
    return MaskSpecClassificationCriterion(SimpleNamespace(), multilabel, smoothing, normalise_by)


def sample_of(target, known=None, clips=None):
    target = torch.as_tensor(target, dtype=torch.float64)
    known = torch.ones_like(target, dtype=torch.bool) if known is None else torch.as_tensor(known)
    return {
        "id": torch.arange(len(target)), "net_input": {}, "target": target, "known": known, "replaced": 0,
        "ntokens": 10, "nsentences": len(target) if clips is None else clips,
    }  # fmt: skip


LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def test_one_class_per_clip_is_torchs_cross_entropy():
    classes = torch.tensor([0, 3, 1, 1, 2, 0])
    loss, size, log = make()(lambda: LOGITS, sample_of(np.eye(4)[classes]))
    expected = nn.functional.cross_entropy(LOGITS, classes, reduction="sum")
    assert torch.allclose(loss, expected) and size == 6 and log["loss"] == loss
    smoothed = make(smoothing=0.1)(lambda: LOGITS, sample_of(np.eye(4)[classes]))[0]
    expected = nn.functional.cross_entropy(LOGITS, classes, reduction="sum", label_smoothing=0.1)
    assert torch.allclose(smoothed, expected)


def test_the_loss_of_a_mixed_target_is_the_mix_of_the_losses():
    target = torch.tensor(np.random.default_rng(0).dirichlet(np.ones(4), size=6))
    loss = make()(lambda: LOGITS, sample_of(target))[0]
    of_classes = torch.stack([nn.functional.nll_loss(LOGITS.log_softmax(1), torch.full((6,), c), reduction="none")
                              for c in range(4)], dim=1)  # fmt: skip
    assert torch.allclose(loss, (target.float() * of_classes).sum())


def test_a_clip_with_an_unknown_label_is_left_out_of_a_loss_of_one_class():
    logits = LOGITS.clone().requires_grad_()
    known = np.ones((6, 4), dtype=bool)
    known[2, 0] = False
    loss, size, _ = make()(lambda: logits, sample_of(np.eye(4)[[0, 3, 1, 1, 2, 0]], known))
    counted = [0, 1, 3, 4, 5]
    expected = nn.functional.cross_entropy(LOGITS[counted], torch.tensor([0, 3, 1, 2, 0]), reduction="sum")
    assert torch.allclose(loss, expected) and int(size) == 5
    loss.backward()
    assert (logits.grad[2] == 0).all() and (logits.grad[counted] != 0).all()


def test_smoothing_is_for_training_alone():
    criterion = make(smoothing=0.1).eval()
    sample = sample_of(np.eye(4)[[0, 1, 2, 3, 0, 1]])
    assert torch.equal(criterion(lambda: LOGITS, sample)[0], make().eval()(lambda: LOGITS, sample)[0])
    assert torch.allclose(smooth(torch.eye(4), 0.2).sum(1), torch.ones(4))


@pytest.mark.parametrize("normalise_by, size", [("known", 9), ("all", 24)])
def test_unknown_labels_count_for_nothing(normalise_by, size):
    rng = np.random.default_rng(1)
    target = rng.integers(0, 2, (6, 4)).astype(float)
    known = np.zeros((6, 4), dtype=bool)
    known.ravel()[rng.permutation(24)[:9]] = True
    criterion = make(multilabel=True, normalise_by=normalise_by)
    logits = LOGITS.clone().requires_grad_()
    loss, sample_size, _ = criterion(lambda: logits, sample_of(target, known))
    reference = nn.BCEWithLogitsLoss(reduction="sum")(LOGITS[known], torch.tensor(target, dtype=torch.float32)[known])
    assert torch.allclose(loss, reference) and int(sample_size) == size
    loss.backward()
    assert (logits.grad[~torch.tensor(known)] == 0).all() and (logits.grad[torch.tensor(known)] != 0).all()


@pytest.mark.parametrize("multilabel", [False, True])
def test_sums_do_not_depend_on_how_clips_are_batched_and_nothing_adds_nothing(multilabel):
    target = np.eye(4)[[0, 3, 1, 1, 2, 0]]
    whole = make(multilabel)(lambda: LOGITS, sample_of(target))
    parts = [make(multilabel)(lambda a=a: LOGITS[a : a + 2], sample_of(target[a : a + 2])) for a in (0, 2, 4)]
    nothing = make(multilabel)(lambda: LOGITS[:1], sample_of(np.zeros((1, 4)), np.zeros((1, 4), dtype=bool), clips=0))
    assert float(nothing[0]) == 0 and int(nothing[1]) == 0
    for index in (0, 1):
        assert float(sum(part[index] for part in parts)) == pytest.approx(float(whole[index]), rel=1e-6)


def test_half_precision_logits_are_scored_in_float32():
    criterion = make(multilabel=True)
    loss, _, _ = criterion(lambda: (100 * LOGITS).half(), sample_of(np.ones((6, 4))))
    assert loss.dtype == torch.float32 and torch.isfinite(loss)


def test_what_is_logged():
    criterion = make()
    logs = [criterion(lambda a=a: LOGITS[a : a + 3], sample_of(np.eye(4)[[0, 1, 2]]))[2] for a in (0, 3)]
    with metrics.aggregate(new_root=True) as aggregator:
        criterion.reduce_metrics(logs)
    values = aggregator.get_smoothed_values()
    assert values["loss"] == pytest.approx(sum(float(log["loss"]) for log in logs) / 6, abs=1e-5)
    assert "clips_per_sec" in values and "logits" not in logs[0]
    assert criterion.eval()(lambda: LOGITS[:3], sample_of(np.eye(4)[[0, 1, 2]]))[2]["logits"].shape == (3, 4)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"criterion.normalise_by out of \('known', 'all'\), found 'some'"):
        make(normalise_by="some")
    with pytest.raises(ValueError, match="label_smoothing from 0 to below 1, found 1.0"):
        make(smoothing=1.0)


def test_losses_take_known_and_counted_apart():
    known = torch.tensor([[True] * 4, [True, False, True, True]])
    _, clips = soft_cross_entropy(LOGITS[:2], torch.eye(4)[:2], known)
    _, labels = binary_cross_entropy(LOGITS[:2], torch.eye(4)[:2], known)
    assert int(clips) == 1 and int(labels) == 7


FRAME_LOGITS = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))


def with_frames(known=None, **kwargs):
    rng = np.random.default_rng(0)
    frames = {"frame_target": torch.from_numpy(rng.integers(0, 2, (3, 5, 4))).double()}
    frames["frame_known"] = torch.ones(3, 5, 4, dtype=torch.bool) if known is None else known
    return {**sample_of(np.zeros((3, 4)), **kwargs), **frames}


def test_frames_are_scored_by_torchs_binary_cross_entropy_where_they_are_known():
    known = torch.from_numpy(np.random.default_rng(1).integers(0, 2, (3, 5, 4)).astype(bool))
    logits = FRAME_LOGITS.clone().requires_grad_()
    sample = with_frames(known)
    loss, size, log = make(multilabel=True)(lambda: logits, sample)
    expected = nn.functional.binary_cross_entropy_with_logits(
        FRAME_LOGITS[known], sample["frame_target"][known].float(), reduction="sum"
    )
    assert torch.allclose(loss, expected) and size == known.sum() == log["sample_size"]
    loss.backward()
    assert torch.equal(logits.grad != 0, known)
    assert make(multilabel=True, normalise_by="all")(lambda: FRAME_LOGITS, sample)[1] == 3 * 5 * 4


def test_validation_scores_clips_by_the_maximum_of_their_frames():
    log = make(multilabel=True).eval()(lambda: FRAME_LOGITS, with_frames())[2]
    assert torch.equal(log["logits"], FRAME_LOGITS.max(dim=1).values)
