"""matryoshka: every prefix reconstructs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from saesweep.dictionaries.stack import Stack
from saesweep.dictionaries.variants.matryoshka import prefixes
from saesweep.grid import Cell

Weights = Mapping[str, Tensor]


def errors(latents: Tensor, w: Weights, x: Tensor, b_dec: Tensor, count: int) -> Tensor:
    """The mean over all of the dictionary, half of it, a quarter, …"""
    size, found = latents.shape[1], []
    for halvings in range(count):
        m = size // 2**halvings
        found.append((x - latents[:, :m] @ w["W_dec"][:m] - b_dec).pow(2).sum(1))
    return sum(found, torch.zeros(len(x), dtype=x.dtype)) / count


def in_training(w: Weights, x: Tensor, cell: Cell, held: Weights) -> tuple[Tensor, Tensor]:
    b_dec = w.get("b_dec", torch.zeros(x.shape[1], dtype=x.dtype))
    pre = ((x - b_dec) @ w["W_enc"] + w["b_enc"]).clamp(min=0)
    places = pre.flatten().argsort(descending=True)[: int(cell.sparsity) * len(x)]
    kept = torch.zeros(pre.numel(), dtype=x.dtype).index_fill(0, places, 1).view(pre.shape)
    error = errors(pre * kept, w, x, b_dec, cell.model.prefixes)
    return error, torch.zeros_like(error)


def afterwards(w: Weights, x: Tensor, cell: Cell, held: Weights) -> tuple[Tensor, Tensor]:
    b_dec = w.get("b_dec", torch.zeros(x.shape[1], dtype=x.dtype))
    pre = (x - b_dec) @ w["W_enc"] + w["b_enc"]
    latents = torch.where(pre > w["threshold"], pre, 0)
    error = errors(latents, w, x, b_dec, cell.model.prefixes)
    return error, torch.zeros_like(error)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_loss_and_gradient(
    count: int,
    bias: bool,
    cell_of: Callable[..., Cell],
    assert_gradient: Callable[..., None],
    assert_loss: Callable[..., None],
):
    cell = cell_of("matryoshka", prefixes=count, decoder_bias=bias)
    assert_gradient(cell, in_training)
    assert_loss(cell, afterwards)


@pytest.mark.parametrize(
    ("size", "count", "ends"),
    [(64, 4, [8, 16, 32, 64]), (8, 1, [8]), (8, 4, [1, 2, 4, 8]), (13, 3, [3, 6, 13])],
)
def test_prefixes(size: int, count: int, ends: list[int]):
    assert prefixes(size, count) == ends


def test_one_prefix_is_batchtopk(
    cell_of: Callable[..., Cell], shaken: Callable[..., Stack], samples: Callable[..., Tensor]
):
    x, found = samples(40), []
    for cell in (cell_of("matryoshka", prefixes=1), cell_of("batchtopk")):
        (group,) = shaken([cell]).groups
        batch = group.variant.prepare(group.weights, x)
        found.append(group.variant.terms(group.weights, x, batch).error)
    torch.testing.assert_close(*found)
