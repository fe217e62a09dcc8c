import pytest
import torch
from torch import nn

from maskspec_fairseq.modules.transformer import LAYER_NORM_EPS, Attention, TransformerBlock


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


def test_drop_path_skips_whole_clips_and_keeps_the_mean():
    block = random_block(drop_path=0.3).train()
    x = torch.randn(1, 5, 64).expand(4000, -1, -1)
    torch.manual_seed(0)
    with torch.no_grad():
        # the first branch alone: x + attention, or x
        branch = block._drop_path(block.attn(block.norm1(x)))
    skipped = (branch == 0).all(dim=2).all(dim=1)
    assert skipped.float().mean() == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 4000) ** 0.5)
    with torch.no_grad():
        full = block.attn(block.norm1(x))
    assert torch.allclose(branch[~skipped], full[~skipped] / 0.7, atol=1e-5)


@pytest.mark.parametrize("kwargs", [dict(dropout=0.5), dict(drop_path=0.5)])
def test_noise_is_for_training_alone(kwargs):
    block, plain = random_block(**kwargs), random_block()
    x = torch.randn(8, 10, 64)
    assert torch.equal(block.eval()(x), plain.eval()(x))
    assert not torch.allclose(block.train()(x), plain(x))


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="a width that the heads divide, found 64 and 5 heads"):
        Attention(64, 5)
