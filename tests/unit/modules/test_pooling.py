import numpy as np
import pytest
import torch

from maskspec_fairseq.modules.pooling import POOLS, num_vectors, pool_clips, pool_columns, to_grid

ROWS, COLUMNS, WIDTH = 4, 6, 8


def plain(pool, cls_token, patches):
    """One clip, by numpy: cls_token (D,) and patches (T, R, D) -> (G, D)."""
    kind, _, spread = pool.partition("+")
    groups = patches.transpose(1, 0, 2) if kind == "frequency" else [patches.reshape(-1, patches.shape[2])]
    means = [cls_token] if kind == "cls" else [group.mean(axis=0) for group in groups]
    statistic = {"": None, "max": np.max, "std": np.std}[spread]
    return np.stack([*means, *(statistic(group, axis=0) for group in groups if statistic)])


@pytest.fixture(scope="module")
def tokens():
    generator = torch.Generator().manual_seed(0)
    shape = (3, ROWS, COLUMNS, WIDTH)
    return torch.randn(3, WIDTH, generator=generator), torch.randn(shape, generator=generator)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("columns", [None, [6, 6, 6], [1, 4, 6]], ids=str)
def test_a_pooling_is_plain_arithmetic_on_the_columns_that_hold_sound(tokens, pool, columns):
    cls_token, patches = tokens
    there = None
    if columns:
        there = (torch.arange(COLUMNS) < torch.tensor(columns)[:, None])[:, None]
        patches = patches.masked_fill(~there[..., None], 100.0)  # what is padding would be noticed
    found = pool_clips(pool, cls_token, patches, there)
    assert found.shape == (3, num_vectors(pool, ROWS), WIDTH)
    for clip in range(3):
        of_clip = patches[clip, :, : columns[clip] if columns else None].transpose(0, 1).numpy()
        np.testing.assert_allclose(found[clip], plain(pool, cls_token[clip].numpy(), of_clip), atol=2e-5)


def test_patches_return_to_their_places(tokens):
    _, patches = tokens
    flat = patches.flatten(1, 2)
    visible = torch.tensor([[0, 1, 7], [5, 6, 23], [2, 10, 12]])
    grid, there = to_grid(torch.stack([clip[row] for clip, row in zip(flat, visible)]), visible, (ROWS, COLUMNS))
    assert there.sum() == 9 and torch.equal(grid[there], patches[there]) and not grid[~there].any()
    assert there[0, 0, 0] and there[0, 0, 1] and there[0, 1, 1] and there[1, 3, 5]


@pytest.mark.parametrize("pool", POOLS)
def test_a_row_without_patches_is_zeros(tokens, pool):
    cls_token, patches = tokens
    there = torch.ones(3, ROWS, COLUMNS, dtype=torch.bool)
    there[:, 2] = False
    if pool.startswith("frequency"):
        empty = pool_clips(pool, cls_token, patches, there)[:, 2::ROWS]
        assert torch.isfinite(empty).all() and empty.abs().max() < 1e-4


@pytest.mark.parametrize("pool", POOLS)
def test_columns_average_to_the_mean_over_time(tokens, pool):
    cls_token, patches = tokens
    columns = pool_columns(pool, patches)
    kind = "frequency" if pool.startswith("frequency") else "mean"
    assert columns.shape == (3, COLUMNS, num_vectors(kind, ROWS), WIDTH)
    torch.testing.assert_close(columns.mean(dim=1), pool_clips(kind, cls_token, patches), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("pool", POOLS)
def test_half_precision_is_near_and_keeps_its_type(tokens, pool, dtype):
    cls_token, patches = tokens
    patches = patches.to(dtype).requires_grad_()
    pooled = pool_clips(pool, cls_token.to(dtype), patches)
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled.float(), pool_clips(pool, cls_token, patches.float()), atol=2e-2, rtol=2e-2)
    if pool != "cls":
        (gradient,) = torch.autograd.grad(pooled.float().sum(), patches)
        assert torch.isfinite(gradient).all()


def test_silence_has_a_gradient():
    """All patches alike: the deviation is zero, where a square root has none."""
    patches = torch.ones(1, ROWS, COLUMNS, WIDTH, requires_grad=True)
    pool_clips("mean+std", None, patches).sum().backward()
    assert torch.isfinite(patches.grad).all()
