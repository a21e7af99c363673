"""batchtopk: k latents a sample over the batch, and the threshold that takes over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell
from saesweep.training.autograd import AutogradGradient
from saesweep.training.state import TrainingState

Weights = Mapping[str, Tensor]
KINDS = ["batchtopk", "matryoshka"]


def encoded(w: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    b_dec = w.get("b_dec", torch.zeros(x.shape[1], dtype=x.dtype))
    return ((x - b_dec) @ w["W_enc"] + w["b_enc"]).clamp(min=0), b_dec


def in_training(w: Weights, x: Tensor, cell: Cell, held: Weights) -> tuple[Tensor, Tensor]:
    pre, b_dec = encoded(w, x)
    places = pre.flatten().argsort(descending=True)[: int(cell.sparsity) * len(x)]
    kept = torch.zeros(pre.numel(), dtype=x.dtype).index_fill(0, places, 1).view(pre.shape)
    error = (x - (pre * kept) @ w["W_dec"] - b_dec).pow(2).sum(1)
    return error, torch.zeros_like(error)


def afterwards(w: Weights, x: Tensor, cell: Cell, held: Weights) -> tuple[Tensor, Tensor]:
    pre, b_dec = encoded(w, x)
    latents = torch.where(pre > w["threshold"], pre, 0)
    error = (x - latents @ w["W_dec"] - b_dec).pow(2).sum(1)
    return error, torch.zeros_like(error)


@pytest.mark.parametrize("bias", [False, True])
def test_loss_and_gradient(
    bias: bool,
    cell_of: Callable[..., Cell],
    assert_gradient: Callable[..., None],
    assert_loss: Callable[..., None],
):
    cell = cell_of("batchtopk", decoder_bias=bias)
    assert_gradient(cell, in_training)
    assert_loss(cell, afterwards)


@pytest.mark.parametrize("variant", KINDS)
def test_exactly_k_a_sample_over_a_batch(
    variant: str,
    cell_of: Callable[..., Cell],
    vary: Callable[..., Cell],
    shaken: Callable[..., Stack],
    samples: Callable[..., Tensor],
):
    cells = [vary(cell_of(variant), k, 16) for k in (1, 2, 4)]
    (group,) = shaken(cells).groups
    x, w = samples(100), group.weights
    kept = (group.variant.active(w, x, group.variant.prepare(w, x)) > 0).sum(dim=(1, 2))
    assert kept.tolist() == [100, 200, 400]


def test_where_few_are_positive_all_of_them_are_kept(
    cell_of: Callable[..., Cell],
    vary: Callable[..., Cell],
    shaken: Callable[..., Stack],
    samples: Callable[..., Tensor],
):
    (group,) = shaken([vary(cell_of("batchtopk"), 8, 8)]).groups
    x, w = samples(50), group.weights
    pre, _ = encoded({name: part[0] for name, part in w.items()}, x)
    latents = group.variant.active(w, x, group.variant.prepare(w, x))[0]
    torch.testing.assert_close(latents, pre)


def test_the_threshold_is_a_running_mean(
    cell_of: Callable[..., Cell],
    vary: Callable[..., Cell],
    shaken: Callable[..., Stack],
    samples: Callable[..., Tensor],
):
    """θ ← 0.99 θ + 0.01 of the least that is kept, from the first batch's on; by whole batches."""
    stack = shaken([vary(cell_of("batchtopk"), k) for k in (1, 2)])
    (group,) = stack.groups
    group.kept["threshold"].zero_()
    expected = [0.0, 0.0]
    gradient = AutogradGradient(stack, 30, "sum")
    gradient.chunks = [7]
    for step in range(4):
        x = samples(30, seed=step)
        gradient(x)
        for place, k in enumerate((1, 2)):
            pre, _ = encoded({name: part[place] for name, part in group.weights.items()}, x)
            least = pre.flatten().sort(descending=True).values[k * 30 - 1].item()
            expected[place] = least if step == 0 else 0.99 * expected[place] + 0.01 * least
        assert group.kept["threshold"].tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("variant", KINDS)
def test_k_on_average_afterwards(
    variant: str,
    cell_of: Callable[..., Cell],
    vary: Callable[..., Cell],
    trained: Callable[..., TrainingState],
    doubles: Any,
):
    changes = {"epochs": 400, "batch_size": 128, "lr": 3e-3}
    cells = [vary(cell_of(variant), k, 12, **changes) for k in (1, 2)]
    (group,) = trained(cells).stack.groups
    latents = group.variant.encode(group.weights, doubles.evaluation(4000).x)
    l0 = (latents > 0).sum(dim=(1, 2)) / 4000
    assert l0.tolist() == pytest.approx([1, 2], rel=0.1)
