import pytest
import torch
import torch.nn.functional as F

from maskspec_fairseq.modules.attention_pool import AttentionPool

WIDTH, HEADS = 12, 3


def make_pool() -> AttentionPool:
    """With weights and biases that are all far from zero."""
    torch.manual_seed(0)
    pool = AttentionPool(WIDTH, HEADS)
    for parameter in pool.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return pool.eval()


def weights_of(pool):
    """Query, key and value (D, D) each, and their biases."""
    return pool.attention.in_proj_weight.chunk(3), pool.attention.in_proj_bias.chunk(3)


@pytest.fixture()
def tokens():
    return torch.randn(4, 7, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("masked", [False, True])
def test_it_is_one_cross_attention_of_the_query_to_the_tokens(tokens, masked):
    pool = make_pool()
    there = torch.rand(4, 7, generator=torch.Generator().manual_seed(2)) < 0.6
    there[:, 0] = True
    weights, biases = weights_of(pool)
    query, key, value = (
        F.linear(x, weight, bias).unflatten(-1, (HEADS, -1)).transpose(1, 2)  # (B, H, N, D / H)
        for x, weight, bias in zip((pool.query.expand(4, 1, WIDTH), tokens, tokens), weights, biases)
    )
    mask = there[:, None, None] if masked else None
    pooled = F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)
    expected = pool.attention.out_proj(pooled)
    found = pool(tokens, there if masked else None)
    assert found.shape == (4, 1, WIDTH)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_timms_with_a_feed_forward_network_of_zeros_is_the_same(tokens):
    layers = pytest.importorskip("timm.layers")
    if not hasattr(layers, "AttentionPoolLatent"):
        pytest.skip("this timm has no AttentionPoolLatent")
    pool, theirs = make_pool(), layers.AttentionPoolLatent(WIDTH, num_heads=HEADS, norm_layer=None).eval()
    (query, *key_value), (query_bias, *key_value_bias) = weights_of(pool)
    with torch.no_grad():
        for parameter, value in (
            (theirs.latent, pool.query),
            (theirs.q.weight, query),
            (theirs.q.bias, query_bias),
            (theirs.kv.weight, torch.cat(key_value)),
            (theirs.kv.bias, torch.cat(key_value_bias)),
            (theirs.proj.weight, pool.attention.out_proj.weight),
            (theirs.proj.bias, pool.attention.out_proj.bias),
            (theirs.mlp.fc2.weight, torch.zeros_like(theirs.mlp.fc2.weight)),
            (theirs.mlp.fc2.bias, torch.zeros_like(theirs.mlp.fc2.bias)),
        ):
            parameter.copy_(value)
    torch.testing.assert_close(pool(tokens)[:, 0], theirs(tokens), atol=1e-5, rtol=1e-5)


def test_tokens_that_do_not_count_might_as_well_not_be_there(tokens):
    pool = make_pool()
    there = torch.tensor([True, False, True, True, False, False, True]).expand(4, -1)
    torch.testing.assert_close(pool(tokens, there), pool(tokens[:, [0, 2, 3, 6]]), atol=1e-6, rtol=1e-5)


def test_a_new_one_weighs_normalised_tokens_nearly_the_same(tokens):
    torch.manual_seed(0)
    pool = AttentionPool(WIDTH, HEADS)
    tokens = F.layer_norm(tokens, (WIDTH,))
    (_, _, value), _ = weights_of(pool)
    mean = pool.attention.out_proj(F.linear(tokens.mean(1, keepdim=True), value))
    assert (pool(tokens) - mean).abs().max() < 0.05 * mean.abs().max()
