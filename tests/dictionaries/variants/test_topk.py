"""topk: k latents of each sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from saesweep.dictionaries.stack import Stack
from saesweep.dictionaries.variants.topk import keep_largest
from saesweep.grid import Cell

Weights = Mapping[str, Tensor]


def formula(w: Weights, x: Tensor, cell: Cell, held: Weights) -> tuple[Tensor, Tensor]:
    """Sorted sample by sample."""
    b_dec = w.get("b_dec", torch.zeros(x.shape[1], dtype=x.dtype))
    errors = []
    for sample in x:
        pre = (sample - b_dec) @ w["W_enc"] + w["b_enc"]
        largest = sorted(range(len(pre)), key=lambda j: -pre[j].item())[: int(cell.sparsity)]
        x_hat = b_dec
        for j in largest:
            if pre[j] > 0:
                x_hat = x_hat + pre[j] * w["W_dec"][j]
        errors.append((sample - x_hat).pow(2).sum())
    return torch.stack(errors), torch.zeros(len(x), dtype=x.dtype)


@pytest.mark.parametrize("bias", [False, True])
def test_gradient(bias: bool, cell_of: Callable[..., Cell], assert_gradient: Callable[..., None]):
    assert_gradient(cell_of("topk", decoder_bias=bias), formula)


@pytest.mark.parametrize("bias", [False, True])
def test_loss(bias: bool, cell_of: Callable[..., Cell], assert_loss: Callable[..., None]):
    assert_loss(cell_of("topk", decoder_bias=bias), formula)


def test_exactly_k_latents(
    cell_of: Callable[..., Cell],
    vary: Callable[..., Cell],
    shaken: Callable[..., Stack],
    samples: Callable[..., Tensor],
):
    cells = [vary(cell_of("topk"), k, 16) for k in (1, 2, 5, 16)]
    (group,) = shaken(cells).groups
    x = samples(200)
    pre = torch.stack([x @ w for w in group.weights["W_enc"]]) + group.weights["b_enc"][:, None]
    positive = (pre > 0).sum(dim=-1)
    found = (group.variant.encode(group.weights, x) > 0).sum(dim=-1)
    for place, cell in enumerate(cells):
        assert found[place].tolist() == positive[place].clamp(max=int(cell.sparsity)).tolist()
    assert found[1].eq(2).float().mean() > 0.9, "or the test says nothing"


def test_the_largest_are_kept_whatever_their_sign():
    pre = torch.tensor([[[-1.0, -3, 2, -2]], [[4.0, 1, 3, 2]]])
    assert keep_largest(pre, [2, 3]).tolist() == [[[-1, 0, 2, 0]], [[4, 0, 3, 2]]]
    assert keep_largest(pre, [1, 1]).tolist() == [[[0, 0, 2, 0]], [[4, 0, 0, 0]]]
