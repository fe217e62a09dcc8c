import copy
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from maskspec_fairseq import fairseq_compat
from maskspec_fairseq.optim.maskspec_adamw import MaskSpecAdamW, MaskSpecAdamWConfig
from maskspec_fairseq.optim.maskspec_cosine import MaskSpecCosineSchedule


@pytest.fixture(autouse=True)
def forget_epoch_length(monkeypatch):
    monkeypatch.setattr(fairseq_compat, "_batches", None)


def adamw(params, **kwargs) -> MaskSpecAdamW:
    return MaskSpecAdamW(MaskSpecAdamWConfig(**{"lr": [1e-3], "fp16": False, "bf16": False, **kwargs}), params)


def schedule(**kwargs) -> MaskSpecCosineSchedule:
    cfg = dict(warmup_epochs=2, min_lr=1e-5, lr=[1e-3], max_epoch=10, update_freq=[1], skip_remainder_batch=False)
    return MaskSpecCosineSchedule(SimpleNamespace(**{**cfg, **kwargs}), adamw([nn.Parameter(torch.zeros(2, 2))]))


def rates(scheduler, updates):
    return [scheduler.step_update(n) for n in updates]


def test_adamw_is_torchs_with_no_decay_on_biases_and_norms():
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 1))
    other = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 1))
    other.load_state_dict(model.state_dict())
    ours = adamw(model.parameters(), weight_decay=0.3)
    theirs = torch.optim.AdamW(
        [
            {"params": [other[0].weight, other[2].weight], "weight_decay": 0.3},
            {"params": [other[0].bias, other[1].weight, other[1].bias, other[2].bias], "weight_decay": 0.0},
        ],
        lr=1e-3,
        betas=(0.9, 0.95),
    )
    for step in range(5):
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        for net, optimizer in ((model, ours), (other, theirs)):
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
    for a, b in zip(model.parameters(), other.parameters()):
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-7)


def stepped(optimizer: MaskSpecAdamW, parameters, steps) -> torch.Tensor:
    """The parameters after steps by random gradients, each its own."""
    for step in steps:
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(step))
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


def without_fused(monkeypatch) -> None:
    """As torch before 2.4 has it on a CPU."""
    build = torch.optim.AdamW.__init__

    def refuse(self, *args, fused=None, **kwargs):
        if fused:
            raise RuntimeError("`fused=True` requires all the params to be CUDA, floating point Tensor")
        build(self, *args, fused=fused, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "__init__", refuse)


def two_parameters():
    return [nn.Parameter(torch.full((3, 2), 0.5)), nn.Parameter(torch.full((2,), 0.25))]


def test_without_a_fused_kernel_it_steps_the_same(monkeypatch):
    fused, plain = two_parameters(), two_parameters()
    expected = stepped(adamw(fused), fused, range(5))
    without_fused(monkeypatch)
    optimizer = adamw(plain)
    assert not optimizer.param_groups[0]["fused"]
    assert torch.allclose(stepped(optimizer, plain, range(5)), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("fused_before", [True, False])
@pytest.mark.parametrize("step_is_tensor", [True, False])
def test_resumes_from_a_checkpoint_with_or_without_a_fused_kernel(monkeypatch, fused_before, step_is_tensor):
    whole = two_parameters()
    expected = stepped(adamw(whole), whole, range(5))
    parameters = two_parameters()
    with monkeypatch.context() as patch:
        if not fused_before:
            without_fused(patch)
        first = adamw(parameters)
        stepped(first, parameters, range(3))
        state = copy.deepcopy(first.state_dict())
        if not step_is_tensor:
            for values in state["state"].values():
                values["step"] = int(values["step"])
    with monkeypatch.context() as patch:
        if fused_before:
            without_fused(patch)
        second = adamw(parameters)
        fused = second.param_groups[0]["fused"]
        second.load_state_dict(state)
        assert all(group["fused"] == fused for group in second.param_groups)
        assert torch.allclose(stepped(second, parameters, range(3, 5)), expected, rtol=1e-6, atol=1e-7)


def test_decay_is_decoupled_and_spares_what_has_one_dimension():
    weight, bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    optimizer = adamw([weight, bias], weight_decay=0.5)
    for parameter in (weight, bias):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.allclose(weight, torch.full((2, 2), 1 - 1e-3 * 0.5)) and torch.equal(bias.data, torch.ones(2))


@pytest.mark.parametrize("frozen, layer_decay", [(1, 1.0), (0, 0.5)])
def test_the_state_of_other_parameters_is_refused(frozen, layer_decay):
    """As where a run resumes with other parts frozen, or with other rates per layer."""
    parameters = [*two_parameters(), nn.Parameter(torch.ones(2, 2))]
    for layer, parameter in enumerate(parameters):
        parameter.param_group = f"{layer}:parameter"
    state = adamw(parameters).state_dict()
    with pytest.raises(ValueError, match="found 3 in 2; take model.freeze_encoder, .* by model.pretrained"):
        adamw(parameters[frozen:], layer_decay=layer_decay).load_state_dict(state)
    adamw(parameters).load_state_dict(state)


def test_flattened_parameters_are_refused():
    with pytest.raises(ValueError, match="found none, .* set common.fp16_no_flatten_grads=true"):
        adamw([nn.Parameter(torch.zeros(100))])


@pytest.mark.parametrize("mode", [dict(), dict(fp16=True), dict(bf16=True)])
def test_master_weights_are_saved_where_there_are_any(mode):
    saved, fresh = (nn.Parameter(torch.full((2, 2), value)) for value in (1 / 3, 0.0))
    state = adamw([saved], **mode).state_dict()
    adamw([fresh], **mode).load_state_dict(state)
    assert torch.equal(fresh, saved if mode else torch.zeros(2, 2))
    assert "master" not in adamw([nn.Parameter(torch.zeros(2, 2).half())], **mode).state_dict()


def test_warm_up_is_linear_and_reaches_the_peak():
    fairseq_compat.set_batches_per_epoch(50)
    found = rates(schedule(), range(100))
    assert found == pytest.approx([1e-3 * (n + 1) / 100 for n in range(100)])


def test_decay_is_torchs_cosine_annealing():
    fairseq_compat.set_batches_per_epoch(50)
    found = rates(schedule(), range(100, 501))
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-3)
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=400, eta_min=1e-5)
    expected = []
    for _ in range(401):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        annealing.step()
    assert found == pytest.approx(expected, rel=1e-6)
    assert schedule().step_update(10**6) == pytest.approx(1e-5)


@pytest.mark.parametrize("batches, update_freq, updates", [(100, 1, 100), (100, 4, 25), (101, 4, 26), (3, 4, 1)])
def test_an_epoch_has_as_many_updates_as_groups_of_batches(batches, update_freq, updates):
    fairseq_compat.set_batches_per_epoch(batches)
    scheduler = schedule(update_freq=[update_freq], warmup_epochs=0)
    half = 5 * updates  # of 10 epochs
    assert scheduler.step_update(half) == pytest.approx((1e-3 + 1e-5) / 2)
    assert scheduler.step_update(0) == 1e-3


def test_fractions_of_an_epoch_warm_up():
    fairseq_compat.set_batches_per_epoch(10)
    assert rates(schedule(warmup_epochs=0.5), range(6)) == pytest.approx([2e-4, 4e-4, 6e-4, 8e-4, 1e-3, 1e-3])


def test_a_resumed_schedule_goes_on_where_it_was_before_the_data_are_loaded():
    fairseq_compat.set_batches_per_epoch(50)
    whole = rates(schedule(), range(500))
    first = schedule()
    rates(first, range(223))
    state = first.state_dict()
    fairseq_compat._batches = None
    second = schedule()
    second.step_update(0)
    second.load_state_dict(state)
    assert second.step_update(222) == whole[222]
    fairseq_compat.set_batches_per_epoch(50)
    assert rates(second, range(222, 500)) == whole[222:]


def test_resuming_on_more_gpus_keeps_the_epoch():
    fairseq_compat.set_batches_per_epoch(100)
    scheduler = schedule()
    scheduler.step_update(500)  # half of 10 epochs
    fairseq_compat.set_batches_per_epoch(25)
    progress = (5 - 2) / (10 - 2)
    assert scheduler.step_update(500) == pytest.approx(1e-5 + (1e-3 - 1e-5) * 0.5 * (1 + math.cos(math.pi * progress)))
    assert scheduler.step_update(500 + 5 * 25) == pytest.approx(1e-5)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (dict(max_epoch=0), "max_epoch .or lr_scheduler's. above 0, found 0"),
        (dict(warmup_epochs=10), r"from 0 to below its max_epoch \(10\), found 10"),
        (dict(lr=[1e-3, 1e-4]), r"one value in optimization.lr .* found \[0.001, 0.0001\]"),
        (dict(update_freq=[1, 2]), r"one value in .* optimization.update_freq .* \[1, 2\]"),
        (dict(skip_remainder_batch=True), "optimization.skip_remainder_batch=false for maskspec_cosine"),
    ],
)
def test_schedules_that_cannot_be_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        schedule(**kwargs)


def test_a_longer_run_says_that_its_learning_rate_jumps(caplog):
    fairseq_compat.set_batches_per_epoch(50)
    first = schedule()
    rates(first, range(501))
    jumped = 1e-5 + (1e-3 - 1e-5) * 0.5 * (1 + math.cos(math.pi * (10 - 2) / (20 - 2)))
    message = (
        f"the learning rate resumes at {jumped:.4g}, the checkpoint had 1e-05: max_epoch of the schedule is 20, "
        "was 10, and optimization.lr is 0.001"
    )
    for max_epoch, messages in [(10, []), (20, [message])]:
        second = schedule(max_epoch=max_epoch)
        second.step_update(0)
        second.load_state_dict(first.state_dict())
        rates(second, range(500, 510))
        assert caplog.messages == messages


def test_the_schedule_of_a_checkpoint_from_before_resumes_without_a_word(caplog):
    fairseq_compat.set_batches_per_epoch(50)
    state = schedule().state_dict()
    del state["lr"], state["max_epoch"]
    second = schedule(max_epoch=20)
    second.load_state_dict(state)
    second.step_update(300)
    assert not caplog.messages
