"""Frozen finetuning: what is frozen is equal to the bit after updates with weight decay, in every mode of fairseq."""

import re

import pytest
import torch

from tests.integration.forked import ForkedProcess
from tests.integration.runs import checkpoint, entries, train, train_in_parallel

RECIPE = "finetuning/demo"
# 8 updates per epoch; draws of training in every layer
SHARED = [
    "optimization.max_epoch=2", "lr_scheduler.warmup_epochs=0", "task.roll_sec=0.1", "optimizer.weight_decay=0.5",
    "model.dropout=0.1", "model.drop_path=0.1", "model.patchout=0.25",
]  # fmt: skip
HALF = {
    "float32": [],
    "bf16": ["common.bf16=true"],
    "fp16": ["common.fp16=true", "common.fp16_init_scale=1"],
    "memory_efficient_bf16": ["common.bf16=true", "common.memory_efficient_bf16=true"],
    "amp": ["common.amp=true"],
}
DTYPE = {"bf16": torch.bfloat16, "fp16": torch.float16, "memory_efficient_bf16": torch.bfloat16}


@pytest.fixture(scope="module")
def pretrained(whole_run):
    path = f"{whole_run[0]}/checkpoints/checkpoint_last.pt"
    weights = torch.load(path, weights_only=True)["model"]
    return f"model.pretrained={path}", {name: value for name, value in weights.items() if name.startswith("encoder.")}


def changed(weights, run_dir, mode="float32"):
    """The encoder's weights that are no longer those before training, to the bit, rounded as the model was."""
    found, dtype = checkpoint(run_dir)["model"], DTYPE.get(mode, torch.float32)
    return {name for name, value in weights.items() if not torch.equal(value.to(dtype), found[name].to(dtype))}


def num_states(run_dir):
    return len(checkpoint(run_dir)["last_optimizer_state"]["state"])


@pytest.mark.stock
def test_a_frozen_encoder_stays_as_it_is_under_an_attentive_probe(labelled_dir, pretrained, tmp_path):
    start, weights = pretrained
    fields = [start, "model.freeze_encoder=true", "model.pool=attention", "optimization.max_epoch=12"]
    fields += ["task.wave_mixup=0.0", "task.spec_mixup_alpha=0.0", "model.dropout=0.0", "task.roll_sec=0.0"]
    output = train(labelled_dir, tmp_path, *SHARED, *fields, recipe=RECIPE)
    assert changed(weights, tmp_path) == set()
    assert not checkpoint(tmp_path)["cfg"]["distributed_training"]["find_unused_parameters"]
    assert num_states(tmp_path) == 7  # query, projections in and out with their biases, head with its bias
    own = 64 + 4 * 64 * 64 + 4 * 64 + 3 * 65
    total = own + sum(value.numel() for value in weights.values())
    assert output.count(f"trains {own:,} of {total:,} parameters") == 1
    losses = [float(entry["train_loss"]) for entry in entries(output, "train")]
    assert losses[-1] < 1.08  # ln 3 is 1.099


@pytest.mark.parametrize(
    "mode", [mode if mode == "float32" else pytest.param(mode, marks=pytest.mark.slow) for mode in HALF]
)
def test_the_last_layers_alone_train(labelled_dir, pretrained, tmp_path, mode):
    start, weights = pretrained
    fields = [start, "model.trainable_layers=1", "optimizer.layer_decay=0.75", *HALF[mode]]
    train(labelled_dir, tmp_path, *SHARED, *fields, recipe=RECIPE)
    after = changed(weights, tmp_path, mode)
    assert after and all(name.startswith(("encoder.blocks.1.", "encoder.norm.")) for name in after)
    assert {name for name in weights if name.startswith("encoder.blocks.1.") and name.endswith("weight")} <= after | {
        f"encoder.blocks.1.{name}.weight" for name in ("norm1", "norm2")
    }
    assert num_states(tmp_path) == 12 + 2 + 2


def states_of_layers(run_dir):
    """Which layers' parameters have moments; the layers' rates are apart by `layer_decay`."""
    state = checkpoint(run_dir)["last_optimizer_state"]
    return {
        round(group["lr_scale"], 4): sum(number in state["state"] for number in group["params"])
        for group in state["param_groups"]
    }


@pytest.mark.parametrize(
    "mode", [mode if mode == "float32" else pytest.param(mode, marks=pytest.mark.slow) for mode in HALF]
)
def test_the_encoder_is_frozen_at_first(labelled_dir, pretrained, tmp_path, mode):
    start, weights = pretrained
    fields = [*SHARED, start, "model.freeze_updates=10", *HALF[mode]]
    output = train(labelled_dir, tmp_path / "before", *fields, "optimization.max_update=10", recipe=RECIPE)
    assert changed(weights, tmp_path / "before", mode) == set()
    assert num_states(tmp_path / "before") == 2
    assert checkpoint(tmp_path / "before")["cfg"]["distributed_training"]["find_unused_parameters"]
    state = checkpoint(tmp_path / "before")["last_optimizer_state"]
    if "master" in state:  # of float32, in the order of the model's parameters; the head's are the last
        numbers = {parameter.numel() for parameter in state["master"]}
        assert {value.numel() for value in weights.values()} <= numbers
        rounded = [value.to(DTYPE[mode]).float() for value in weights.values()]
        assert all(any(torch.equal(value, master) for master in state["master"]) for value in rounded)
    assert output.count(" in the first 10 updates") == 1 and output.count("after update 10: trains") == 1
    assert re.search(r"trains 195 of (\S+) parameters in the first .*after update 10: trains \1 of \1 ", output, re.S)

    train(labelled_dir, tmp_path / "after", *fields, "optimization.max_update=12", recipe=RECIPE)
    matrices = {name for name, value in weights.items() if value.dim() > 1}
    assert matrices <= changed(weights, tmp_path / "after", mode)
    assert num_states(tmp_path / "after") == 2 + len(weights)


@pytest.fixture(scope="module")
def uninterrupted(labelled_dir, pretrained, tmp_path_factory):
    """The fields of a run whose encoder is frozen for ten of sixteen updates, and its last checkpoint."""
    run_dir = tmp_path_factory.mktemp("uninterrupted")
    fields = [*SHARED, pretrained[0], "model.freeze_updates=10", "model.pool=attention"]
    train(labelled_dir, run_dir, *fields, recipe=RECIPE)
    return fields, checkpoint(run_dir)


@pytest.mark.stock
@pytest.mark.parametrize("stop", [6, *(pytest.param(stop, marks=pytest.mark.slow) for stop in (10, 13))])
def test_a_run_that_resumes_before_or_after_the_end_of_freezing_ends_like_an_uninterrupted_one(
    labelled_dir, uninterrupted, tmp_path, stop
):
    fields, whole = uninterrupted
    for limit in ([f"optimization.max_update={stop}"], []):
        train(labelled_dir, tmp_path, *fields, *limit, recipe=RECIPE)
    resumed = checkpoint(tmp_path)
    assert all(torch.equal(value, resumed["model"][name]) for name, value in whole["model"].items())
    states = [state["last_optimizer_state"]["state"] for state in (whole, resumed)]
    assert states[0].keys() == states[1].keys()
    for number, values in states[0].items():
        assert all(torch.equal(torch.as_tensor(value), torch.as_tensor(states[1][number][name]))
                   for name, value in values.items())  # fmt: skip


def test_two_processes_freeze_and_train_as_one(labelled_dir, pretrained, tmp_path):
    """fairseq's data parallel over gloo fills missing gradients with zeros."""
    start, weights = pretrained
    fields = [*SHARED, start, "model.freeze_updates=3", "optimization.max_epoch=1", "model.dropout=0.0"]
    stop = "optimization.max_update=3"
    output = train_in_parallel(labelled_dir, tmp_path / "frozen", 2, *fields, stop, recipe=RECIPE)
    assert changed(weights, tmp_path / "frozen") == set() and num_states(tmp_path / "frozen") == 2
    assert "after update 3: trains" in output
    train_in_parallel(labelled_dir, tmp_path / "two", 2, *fields, recipe=RECIPE)
    train(labelled_dir, tmp_path / "one", *fields, "optimization.update_freq=[2]", recipe=RECIPE)
    one, two = (checkpoint(tmp_path / name) for name in ("one", "two"))
    assert changed(weights, tmp_path / "two")
    for name, value in one["model"].items():
        other = two["model"][name]
        if name.endswith("qkv.bias"):  # without the keys', whose gradient is rounding
            value, other = (torch.cat(bias.chunk(3)[::2]) for bias in (value, other))
        assert torch.allclose(value, other, atol=2e-5), name
    steps = [{int(s["step"]) for s in c["last_optimizer_state"]["state"].values()} for c in (one, two)]
    assert steps == [{4, 1}] * 2


def test_a_frozen_encoder_of_random_weights_is_said(labelled_dir, tmp_path):
    fields = ["model.freeze_encoder=true", "optimization.max_update=1", "lr_scheduler.warmup_epochs=0"]
    output = train(labelled_dir, tmp_path, *fields, recipe=RECIPE)
    warning = "the frozen encoder has random weights, because model.pretrained is not given"
    assert warning in output
    path = f"{tmp_path}/checkpoints/checkpoint_last.pt"
    output = train(labelled_dir, tmp_path / "again", *fields, f"checkpoint.finetune_from_model={path}", recipe=RECIPE)
    assert f"starting from {path}" in output and warning not in output and "starting from random" not in output
    before = {name: value for name, value in checkpoint(tmp_path)["model"].items() if name.startswith("encoder.")}
    assert changed(before, tmp_path / "again") == set()


@pytest.mark.parametrize(
    "fields, message",
    [
        (["model.freeze_encoder=true", "model.freeze_updates=5"], "without model.freeze_updates, found 5; set model."),
        (["model.trainable_layers=3"], "expected model.trainable_layers from 1 to 2, the encoder's layers"),
        (["model.freeze_updates=-1"], "expected freeze_updates to be a whole number from 0"),
    ],
)
def test_what_cannot_be_frozen_is_refused_before_a_step(labelled_dir, pretrained, tmp_path, fields, message):
    output = train(labelled_dir, tmp_path, pretrained[0], *fields, recipe=RECIPE, fails=True)
    assert message in output and not entries(output, "train_inner")


def ddp_updates(rank, store, out, find_unused_parameters):
    """Four updates of two processes by torch's DistributedDataParallel; the encoder is frozen in the first two."""
    from maskspec_fairseq.models.maskspec_classifier import MaskSpecClassifierModel
    from tests.fairseq_factories import classifier_config

    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = MaskSpecClassifierModel.build_model(classifier_config(num_classes=3, freeze_updates=2))
    model.front_end.set_statistics([-5.0] * 128, [3.0] * 128)
    torch.nn.init.normal_(model.head.weight)
    parallel = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=find_unused_parameters)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.5)
    steps = []
    for update in range(4):
        parallel.train()
        model.set_num_updates(update)
        optimizer.zero_grad()
        clips = 0.1 * torch.randn(4, 16000, generator=torch.Generator().manual_seed(update))
        parallel(clips[2 * rank : 2 * rank + 2]).square().mean().backward()
        if update >= 2:
            gradient = model.encoder.patch_embed.weight.grad
            (single,) = torch.autograd.grad(model(clips).square().mean(), [model.encoder.patch_embed.weight])
            assert torch.allclose(single, gradient, atol=1e-5 * float(single.abs().max()))
        steps.append([parameter.detach().clone() for parameter in model.encoder.parameters()])
        optimizer.step()
    steps.append([parameter.detach().clone() for parameter in model.encoder.parameters()])
    torch.save(steps, f"{out}{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("find_unused_parameters", [True, False])
def test_torchs_data_parallel_needs_to_know_of_unused_parameters(tmp_path, find_unused_parameters):
    """On GPUs fairseq uses it; with a CPU it cannot, so here it is used without fairseq."""
    paths = (f"{tmp_path}/store", f"{tmp_path}/")
    processes = [
        ForkedProcess(f"{tmp_path}/log{rank}", ddp_updates, rank, *paths, find_unused_parameters) for rank in (0, 1)
    ]
    codes = [process.wait() for process in processes]
    logs = "".join((tmp_path / f"log{rank}").read_text() for rank in (0, 1))
    if not find_unused_parameters:
        assert all(codes) and "Expected to have finished reduction in the prior iteration" in logs
        return
    assert codes == [0, 0], logs
    first, second = (torch.load(f"{tmp_path}/{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(a, b) for one, two in zip(first, second) for a, b in zip(one, two))
    start, *frozen, trained, _ = first  # before updates 1 to 4, and after the last one
    assert all(torch.equal(a, b) for step in frozen for a, b in zip(start, step))
    assert not any(torch.equal(a, b) for a, b in zip(start, trained) if a.dim() > 1)
