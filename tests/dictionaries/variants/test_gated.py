"""gated: two paths, and a term in which the decoder is held."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell

Weights = Mapping[str, Tensor]


def formula(w: Weights, x: Tensor, cell: Cell, held: Weights) -> tuple[Tensor, Tensor]:
    none = torch.zeros(x.shape[1], dtype=x.dtype)
    b_dec = w.get("b_dec", none)
    centred = x - b_dec
    gate = centred @ w["W_enc"] + w["b_enc"]
    size = (centred @ (w["W_enc"] * torch.exp(w["r_mag"])) + w["b_mag"]).clamp(min=0)
    x_hat = torch.where(gate > 0, size, 0) @ w["W_dec"] + b_dec
    opened = gate.clamp(min=0)
    by_gate = opened @ held["W_dec"] + held.get("b_dec", none)
    error = (x - x_hat).pow(2).sum(1) + (x - by_gate).pow(2).sum(1)
    return error, cell.sparsity * opened.sum(1)


@pytest.mark.parametrize("bias", [False, True])
def test_loss_and_gradient(
    bias: bool,
    cell_of: Callable[..., Cell],
    assert_gradient: Callable[..., None],
    assert_loss: Callable[..., None],
):
    cell = cell_of("gated", decoder_bias=bias)
    assert_gradient(cell, formula)
    assert_loss(cell, formula)


def test_it_starts_as_relu_does(cell_of: Callable[..., Cell], samples: Callable[..., Tensor]):
    """Both paths are one before they learn: the scale is 1, the biases are 0."""
    (group,) = Stack([cell_of("gated")], 4, seed=0, dtype=torch.float64).groups
    x = samples(20)
    latents = group.variant.encode(group.weights, x)[0]
    torch.testing.assert_close(latents, (x @ group.decoder[0].T).relu())


def test_an_open_gate_with_a_magnitude_below_zero_is_off(
    cell_of: Callable[..., Cell], shaken: Callable[..., Stack], samples: Callable[..., Tensor]
):
    (group,) = shaken([cell_of("gated")]).groups
    group.learned["b_mag"].fill_(-1e3)
    assert group.variant.encode(group.weights, samples(20)).eq(0).all()
