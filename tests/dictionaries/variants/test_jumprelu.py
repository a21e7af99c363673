"""jumprelu: the straight-through derivatives, written with loops and met on average."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell
from saesweep.training.autograd import AutogradGradient

Weights = Mapping[str, Tensor]
OPTIONS = {"threshold": 0.2, "bandwidth": 0.3}


def formula(w: Weights, x: Tensor, cell: Cell, held: Weights) -> tuple[Tensor, Tensor]:
    b_dec = w.get("b_dec", torch.zeros(x.shape[1], dtype=x.dtype))
    pre = (x - b_dec) @ w["W_enc"] + w["b_enc"]
    on = pre > torch.exp(w["log_threshold"])
    x_hat = torch.where(on, pre, 0) @ w["W_dec"] + b_dec
    return (x - x_hat).pow(2).sum(1), cell.sparsity * on.sum(1).to(x)


@pytest.mark.parametrize("bias", [False, True])
def test_loss_and_gradient(
    bias: bool,
    cell_of: Callable[..., Cell],
    assert_gradient: Callable[..., None],
    assert_loss: Callable[..., None],
):
    cell = cell_of("jumprelu", decoder_bias=bias, **OPTIONS)
    assert_gradient(cell, formula, "log_threshold")
    assert_loss(cell, formula)


def test_thresholds_start_as_they_are_set(cell_of: Callable[..., Cell]):
    (group,) = Stack([cell_of("jumprelu", **OPTIONS)], 4, seed=0).groups
    torch.testing.assert_close(group.weights["log_threshold"].exp(), torch.full((1, 8), 0.2))


def test_the_gradient_of_the_threshold_written_out(
    cell_of: Callable[..., Cell],
    vary: Callable[..., Cell],
    shaken: Callable[..., Stack],
    samples: Callable[..., Tensor],
):
    """Each pre-activation within ε/2 of θ gives -(θ/ε) dL/dlatent - λ/ε; times θ for its log."""
    one = cell_of("jumprelu", decoder_bias=True, **OPTIONS)
    stack, x = shaken([vary(one, value, 6) for value in (0.05, 0.5)]), samples(60)
    AutogradGradient(stack, len(x), "sum")(x)
    (group,) = stack.groups
    near = 0
    for place, cell in enumerate(group.cells):
        w = {name: part[place] for name, part in group.weights.items()}
        pre = (x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
        expected = [0.0] * 6
        for i in range(len(x)):
            on = [j for j in range(6) if pre[i, j] > w["log_threshold"][j].exp()]
            x_hat = w["b_dec"] + sum(pre[i, j] * w["W_dec"][j] for j in on)
            for j in range(6):
                theta = w["log_threshold"][j].exp().item()
                if abs(pre[i, j].item() - theta) < 0.15:
                    slope = 2 * (x_hat - x[i]) @ w["W_dec"][j]
                    share = -theta / 0.3 * slope.item() - cell.sparsity / 0.3
                    expected[j] += theta * share / len(x)
                    near += 1
        found = group.gradients["log_threshold"][place]
        assert found.tolist() == pytest.approx(expected, rel=1e-9)
    assert near > 50, "or the test says nothing"


def test_it_is_the_derivative_of_the_expected_loss(
    cell_of: Callable[..., Cell], vary: Callable[..., Cell], shaken: Callable[..., Stack]
):
    """Over many samples, within the two estimates' noise and a bias of order ε².

    200,000 samples leave a standard error of 1 to 2 % in each estimate (some 5 % of them lie in the
    kernel, ± 0.05, and in the step of the difference), so 8 % is four of them.
    """
    one = vary(cell_of("jumprelu", threshold=0.5, bandwidth=0.1), 0.3, 3)
    stack = shaken([one])
    (group,) = stack.groups
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(200_000, 4, generator=generator, dtype=torch.float64)
    AutogradGradient(stack, len(x), "sum")(x)
    w = {name: part[0].clone() for name, part in group.weights.items()}
    for j in range(3):
        ends = []
        for sign in (1, -1):
            moved = w["log_threshold"].clone()
            moved[j] = (w["log_threshold"][j].exp() + sign * 0.05).log()
            error, penalty = formula({**w, "log_threshold": moved}, x, one, w)
            ends.append((error + penalty).mean().item())
        slope = (ends[0] - ends[1]) / 0.1
        found = group.gradients["log_threshold"][0, j] / w["log_threshold"][j].exp()
        assert found.item() == pytest.approx(slope, rel=0.08, abs=0.01)
        assert abs(slope) > 0.05, "or the test says nothing"
