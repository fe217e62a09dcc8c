import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from maskspec_fairseq.modules.transformer import (
    EXPLICIT_TOKENS,
    LAYER_NORM_EPS,
    Attention,
    TransformerBlock,
    explicit_attention,
    stochastic_depth,
)


def torch_layer(block: TransformerBlock) -> nn.TransformerEncoderLayer:
    """torch's own pre-norm layer with the block's weights."""
    layer = nn.TransformerEncoderLayer(
        64, 4, 256, dropout=0.0, activation="gelu", batch_first=True, norm_first=True, layer_norm_eps=LAYER_NORM_EPS
    )
    copies = {
        layer.self_attn.in_proj_weight: block.attn.qkv.weight,
        layer.self_attn.in_proj_bias: block.attn.qkv.bias,
        layer.self_attn.out_proj.weight: block.attn.proj.weight,
        layer.self_attn.out_proj.bias: block.attn.proj.bias,
        layer.linear1.weight: block.mlp.fc1.weight,
        layer.linear1.bias: block.mlp.fc1.bias,
        layer.linear2.weight: block.mlp.fc2.weight,
        layer.linear2.bias: block.mlp.fc2.bias,
        layer.norm1.weight: block.norm1.weight,
        layer.norm1.bias: block.norm1.bias,
        layer.norm2.weight: block.norm2.weight,
        layer.norm2.bias: block.norm2.bias,
    }
    with torch.no_grad():
        for ours, theirs in copies.items():
            ours.copy_(theirs)
    return layer


def random_block(**kwargs) -> TransformerBlock:
    torch.manual_seed(0)
    block = TransformerBlock(64, 4, 256, **kwargs)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.2)
    return block


def test_block_is_torchs_pre_norm_encoder_layer():
    block = random_block().double()
    layer = torch_layer(block).double()
    x = torch.randn(3, 10, 64, dtype=torch.float64, requires_grad=True)
    ours, theirs = block(x), layer(x)
    assert torch.allclose(ours, theirs, atol=1e-10)
    weights = torch.randn_like(ours)
    (ours_grad,) = torch.autograd.grad((ours * weights).sum(), x)
    (theirs_grad,) = torch.autograd.grad((theirs * weights).sum(), x)
    assert torch.allclose(ours_grad, theirs_grad, atol=1e-10)


def test_attention_by_two_products_is_torchs():
    torch.manual_seed(0)
    inputs = [torch.randn(2, 3, tokens, 8, dtype=torch.float64, requires_grad=True) for tokens in (4, 9, 9)]
    found, expected = explicit_attention(*inputs, dropout=0.0), F.scaled_dot_product_attention(*inputs)
    assert torch.allclose(found, expected, atol=1e-12)
    weights = torch.randn_like(found)
    pairs = zip(*(torch.autograd.grad((output * weights).sum(), inputs) for output in (found, expected)))
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in pairs)


def test_attention_by_two_products_drops_weights_and_keeps_their_mean():
    torch.manual_seed(0)
    query, key = torch.randn(2, 50, 4, 20, 8)
    found = explicit_attention(query, key, torch.ones(50, 4, 20, 8), dropout=0.5)
    assert found.std() > 0.1 and abs(found.mean() - 1) < 0.05


@pytest.mark.parametrize("tokens", [30, EXPLICIT_TOKENS + 1])
def test_a_training_step_in_bf16_is_near_that_in_float32(tokens):
    attention = Attention(64, 4)
    x = torch.randn(3, tokens, 64, requires_grad=True)
    gradients = []
    for bf16 in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            y = attention(x)
        assert (y.dtype == torch.bfloat16) == bf16
        gradients.append(torch.autograd.grad(y.float().square().sum(), [x, *attention.parameters()]))
    for exact, rounded in zip(*gradients):
        assert (exact - rounded).norm() < 0.03 * exact.norm()


def test_the_last_tokens_alone_are_those_of_the_whole_block():
    block = random_block().double()
    x = torch.randn(3, 10, 64, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor([[1.0, 1.0], [0.0, 2.0], [2.0, 0.0]])
    inputs = [x, *block.parameters()]
    whole, some = block(x, scale)[:, -4:], block(x, scale, num_queries=4)
    assert some.shape == (3, 4, 64) and torch.allclose(some, whole, atol=1e-10)
    weights = torch.randn_like(some)
    expected = torch.autograd.grad((whole * weights).sum(), inputs)
    found = torch.autograd.grad((some * weights).sum(), inputs)
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(found, expected))


def test_branches_are_scaled_clip_by_clip():
    block = random_block()
    x = torch.randn(3, 5, 64)
    scale = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 2.0]])
    scaled = block(x, scale)
    assert torch.allclose(scaled[0], block(x)[0], atol=1e-5) and torch.equal(scaled[1], x[1])
    assert torch.allclose(scaled[2], x[2] + 2 * block.mlp(block.norm2(x[2:]))[0], atol=1e-5)


def test_stochastic_depth_skips_as_often_as_asked_and_keeps_the_mean():
    keys = np.array([[1, 1, clip] for clip in range(4000)])
    scale = stochastic_depth(keys, [0.0, 0.3])
    assert scale.shape == (4000, 2, 2) and (scale[:, 0] == 1).all()
    for branch in (0, 1):
        skipped = scale[:, 1, branch] == 0
        assert skipped.float().mean() == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 4000) ** 0.5)
        assert torch.allclose(scale[~skipped, 1, branch], torch.tensor(1 / 0.7))
    assert torch.equal(stochastic_depth(keys[7:9], [0.0, 0.3]), scale[7:9])
    assert not torch.equal(stochastic_depth(keys + [0, 1, 0], [0.0, 0.3]), scale)


def test_dropout_is_for_training_alone():
    block, plain = random_block(dropout=0.5), random_block()
    x = torch.randn(8, 10, 64)
    assert torch.equal(block.eval()(x), plain.eval()(x))
    assert not torch.allclose(block.train()(x), plain(x))


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="a width that the heads divide, found 64 and 5 heads"):
        Attention(64, 5)
