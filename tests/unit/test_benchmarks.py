"""What the benchmarks compare does the same work. Nothing is timed here."""

import ast
import graphlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from benchmarks.timing import Row, in_turns, median_ratio
from maskspec_fairseq.modules import transformer
from maskspec_fairseq.modules.losses import masked_spectrogram_loss
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.modules.masking import random_masking
from maskspec_fairseq.modules.patches import patchify
from maskspec_fairseq.modules.sizes import ModelSize
from tests.factories import REPOSITORY

pytest.importorskip("timm")
from benchmarks import steps
from benchmarks.timm_mae import TimmMae

SIZES = dict(encoder_layers=2, decoder_embed_dim=16, decoder_layers=2, decoder_attention_heads=4)
CLIP_KEY = np.array([[1, 1, 0], [1, 1, 1]])


def timm_name(name: str) -> str:
    """Our name of a parameter -> that of facebookresearch/mae."""
    for ours, theirs in (("embed.", "decoder_embed."), ("blocks.", "decoder_blocks."), ("norm.", "decoder_norm.")):
        if name.startswith("decoder." + ours):
            return theirs + name[len("decoder." + ours) :]
    return name.replace("decoder.pred", "decoder_pred").replace("decoder.", "").replace("encoder.", "")


@pytest.mark.parametrize("fused", [False, True])
def test_timm_mae_has_our_loss_and_gradients(fused):
    ours = MaskedAutoencoder(
        encoder_embed_dim=24, encoder_attention_heads=3, encoder_ffn_embed_dim=96, decoder_ffn_embed_dim=64, **SIZES
    )
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    waveform = torch.randn(2, 32000)
    patches = patchify(ours.front_end(waveform), 16)
    mask = random_masking(CLIP_KEY, patches.shape[1], 0.75)
    theirs = TimmMae(ours.front_end.grid(32000), 24, 3, fused=fused, **SIZES)
    weights = {timm_name(name): value for name, value in ours.named_parameters()}
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert sorted(missing) == ["decoder_pos_embed", "pos_embed"] and not unexpected

    found = ours(waveform, mask=mask)
    total, count = masked_spectrogram_loss(found["prediction"], found["target"], found["scored"])
    loss = theirs(patches, noise=mask.float())
    torch.testing.assert_close(total / count, loss, rtol=1e-5, atol=0)
    (total / count).backward()
    loss.backward()
    gradients = {timm_name(name): value.grad for name, value in ours.named_parameters()}
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("way", ["ours", "fast"])
def test_arithmetic_is_what_torch_counts(monkeypatch, way):
    """With explicit attention, whose products torch counts on every device."""
    from torch.utils.flop_counter import FlopCounterMode

    def explicit(query, key, value, dropout_p):
        return (query @ key.transpose(2, 3) * query.shape[3] ** -0.5).softmax(dim=3) @ value

    monkeypatch.setattr(transformer.F, "scaled_dot_product_attention", explicit)
    step = steps.make_step(way, "tiny", 2, 2)
    counter = FlopCounterMode(display=False)
    with counter:
        step()
    # torch also counts the front end; the first projection needs no gradient of its input
    assert counter.get_total_flops() == pytest.approx(steps.step_flops("tiny", 2, 2, fast=way == "fast"), rel=0.01)


@pytest.mark.parametrize("way", [way for way in steps.WAYS if way != "compiled"])  # test_compiled_blocks.py
def test_every_way_of_a_step_trains_its_model(way, monkeypatch):
    monkeypatch.setattr(steps, "SIZES", {"tiny": ModelSize(48, 3, 192)})
    step = steps.make_step(way, "tiny", 1, 1)
    first = step()
    assert 0 < step() < 0.9 * first  # a batch that it has seen


def test_the_loaders_floor_ends_after_threads_have_computed():
    program = """
import torch
from benchmarks.loader import floor

class Clips(list):
    def collater(self, items):
        return torch.stack(items)

torch.set_num_threads(2)
torch.randn(512, 512) @ torch.randn(512, 512)
torch.randn(2**21).exp()  # by two threads, which a fork does not have
floor(Clips([torch.zeros(2**19)] * 8), workers=1)
"""
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, timeout=120, check=True)


def test_no_benchmark_imports_itself_by_way_of_others():
    """At the top of a file or in a function."""
    graph = {}
    files = [path.relative_to(REPOSITORY) for path in (REPOSITORY / "benchmarks").rglob("*.py")]
    modules = {".".join(path.with_suffix("").parts) for path in files}
    for path in files:
        names = {
            name
            for node in ast.walk(ast.parse((REPOSITORY / path).read_text()))
            if isinstance(node, ast.ImportFrom)
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        }
        graph[".".join(path.with_suffix("").parts)] = names & modules
    assert {"benchmarks.steps", "benchmarks.timing"} <= graph["benchmarks.pretraining_step"]
    assert "benchmarks.gpu.workload" in graph["benchmarks.gpu.measure"]
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize(
    "target, ratio, met",
    [("at most 0.8", 0.8, True), ("at most 0.8", 0.81, False), ("at least 3", 3.0, True), ("at least 3", 2.9, False)]
    + [("", 1.0, None)],
)
def test_a_row_knows_whether_it_met_its_target(target, ratio, met):
    assert Row("work", "peer", "1 s", "2 s", ratio, target).met is met


def test_a_target_written_otherwise_is_refused():
    with pytest.raises(ValueError, match="expected a target 'at most X' or 'at least X', found 'below 3'"):
        Row("work", "peer", "1 s", "2 s", 1.0, "below 3").met  # noqa: B018


def test_ways_take_turns_and_the_warm_up_is_not_counted():
    calls, now = [], [0.0]

    def way(name, seconds):
        def run():
            calls.append(name)
            now[0] += seconds

        return run

    seconds = in_turns({"ours": way("ours", 1), "theirs": way("theirs", 2)}, rounds=2, clock=lambda: now[0])
    assert calls == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert seconds == {"ours": [1, 1], "theirs": [2, 2]}
    assert median_ratio(seconds["ours"], seconds["theirs"]) == 0.5
