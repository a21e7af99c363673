"""variational: what is computed in closed form, against draws and torch's distributions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Laplace, Normal, kl_divergence

from saesweep.dictionaries.stack import Group, Stack
from saesweep.grid import Cell

Weights = Mapping[str, Tensor]
PRIORS: list[dict[str, Any]] = [
    {"prior": "spike_slab", "slab_std": 0.7, "kl_weight": 0.2},
    {"prior": "laplace", "kl_weight": 0.2},
]


def formula(w: Weights, x: Tensor, cell: Cell, held: Weights) -> tuple[Tensor, Tensor]:
    options, rho = cell.model, cell.sparsity
    b_dec = w.get("b_dec", torch.zeros(x.shape[1], dtype=x.dtype))
    gate = (x - b_dec) @ w["W_enc"] + w["b_enc"]
    scale = torch.exp(w["log_scale"])
    if options.prior == "laplace":
        mean = gate.clamp(min=0)
        variance = (2 * scale**2).expand_as(mean)
        kl = -torch.log(rho * scale) + rho * mean + rho * scale * torch.exp(-mean / scale) - 1
    else:
        s, on = options.slab_std, 1 / (1 + torch.exp(-gate))
        size = (torch.exp(w["r_mag"]) * (gate - w["b_enc"]) + w["b_mag"]).clamp(min=0)
        mean, variance = on * size, on * (size**2 + scale**2) - (on * size) ** 2
        slab = (size**2 + scale**2 - s**2 - s**2 * torch.log(scale**2 / s**2)) / (2 * s**2)
        kl = on * torch.log(on / rho) + (1 - on) * torch.log((1 - on) / (1 - rho)) + on * slab
    error = (x - mean @ w["W_dec"] - b_dec).pow(2).sum(1) + variance.sum(1)
    return error, options.kl_weight * kl.sum(1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("options", PRIORS, ids=str)
def test_loss_and_gradient(
    options: dict[str, Any],
    bias: bool,
    cell_of: Callable[..., Cell],
    assert_gradient: Callable[..., None],
    assert_loss: Callable[..., None],
):
    cell = cell_of("variational", decoder_bias=bias, **options)
    assert_gradient(cell, formula)
    assert_loss(cell, formula)


def group_of(cell: Cell, shaken: Callable[..., Stack]) -> tuple[Group, dict[str, Tensor]]:
    """A posterior that is wide enough for draws to show it, and the weights of its only cell."""
    (group,) = shaken([cell]).groups
    group.learned["log_scale"].add_(1.5)
    return group, {name: part[0] for name, part in group.weights.items()}


DRAWS = 40_000


def drawn(cell: Cell, w: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    """z [draws, samples, dict_size] by reparametrisation, and ln q(z) - ln p(z) of each."""
    generator = torch.Generator().manual_seed(5)
    gate = x @ w["W_enc"] + w["b_enc"]
    shape = (DRAWS, *gate.shape)
    scale, rho = w["log_scale"].exp(), cell.sparsity
    uniform = torch.rand(shape, generator=generator, dtype=x.dtype)
    if cell.model.prior == "laplace":
        centred = uniform - 0.5
        mean = gate.relu()
        z = mean - scale * centred.sign() * torch.log1p(-2 * centred.abs())
        zero = torch.zeros((), dtype=x.dtype)
        return z, Laplace(mean, scale).log_prob(z) - Laplace(zero, 1 / rho).log_prob(z)
    size = (w["r_mag"].exp() * (gate - w["b_enc"]) + w["b_mag"]).relu()
    gamma, slab = gate.sigmoid(), cell.model.slab_std
    on = (uniform < gamma).to(x)
    value = size + scale * torch.randn(shape, generator=generator, dtype=x.dtype)
    prior = Normal(torch.zeros((), dtype=x.dtype), slab)
    ratio = (
        gamma.log() - math.log(rho) + Normal(size, scale).log_prob(value) - prior.log_prob(value)
    )
    return on * value, on * ratio + (1 - on) * ((1 - gamma).log() - math.log(1 - rho))


@pytest.mark.parametrize("options", PRIORS, ids=str)
def test_expectation_and_divergence_are_those_of_draws(
    options: dict[str, Any],
    cell_of: Callable[..., Cell],
    vary: Callable[..., Cell],
    shaken: Callable[..., Stack],
    samples: Callable[..., Tensor],
):
    """Within five standard errors of 40,000 draws, sample by sample."""
    cell = vary(cell_of("variational", **options), 0.3, 6)
    group, w = group_of(cell, shaken)
    x = samples(3)
    z, log_ratio = drawn(cell, w, x)
    error = (x - z @ w["W_dec"]).square().sum(dim=2)
    divergence = log_ratio.sum(dim=2)
    for i in range(3):
        terms = group.variant.terms(group.weights, x[i : i + 1], {})
        for found, seen in ((terms.error, error[:, i]), (terms.penalty, divergence[:, i])):
            noise = seen.std().item() / math.sqrt(DRAWS)
            assert found.item() == pytest.approx(seen.mean().item(), abs=5 * noise)
            assert noise < 0.02 * abs(found.item()), "or the test says nothing"


def test_divergence_of_laplace_is_torchs(
    cell_of: Callable[..., Cell],
    vary: Callable[..., Cell],
    shaken: Callable[..., Stack],
    samples: Callable[..., Tensor],
):
    cell = vary(cell_of("variational", prior="laplace"), 1.7)
    group, w = group_of(cell, shaken)
    gate = samples(20) @ w["W_enc"] + w["b_enc"]
    mean, variance, found = group.variant.posterior(group.weights, gate[None])  # type: ignore[attr-defined]
    q = Laplace(gate.relu(), w["log_scale"].exp())
    p = Laplace(torch.zeros((), dtype=gate.dtype), torch.tensor(1 / 1.7, dtype=gate.dtype))
    torch.testing.assert_close(found[0], kl_divergence(q, p))
    torch.testing.assert_close(mean[0], q.mean)
    torch.testing.assert_close(variance[0], q.variance)


def test_divergence_of_spike_and_slab_is_torchs(
    cell_of: Callable[..., Cell],
    vary: Callable[..., Cell],
    shaken: Callable[..., Stack],
    samples: Callable[..., Tensor],
):
    """That of the spike, and that of the slab as often as there is one."""
    cell = vary(cell_of("variational", slab_std=1.3), 0.15)
    group, w = group_of(cell, shaken)
    gate = samples(20) @ w["W_enc"] + w["b_enc"]
    _, _, found = group.variant.posterior(group.weights, gate[None])  # type: ignore[attr-defined]
    size = (w["r_mag"].exp() * (gate - w["b_enc"]) + w["b_mag"]).relu()
    rate = torch.tensor(0.15, dtype=gate.dtype)
    zero, slab = torch.tensor([0.0, 1.3], dtype=gate.dtype)
    spikes = kl_divergence(Bernoulli(gate.sigmoid()), Bernoulli(rate))
    slabs = kl_divergence(Normal(size, w["log_scale"].exp()), Normal(zero, slab))
    torch.testing.assert_close(found[0], spikes + gate.sigmoid() * slabs)


@pytest.mark.parametrize("options", PRIORS, ids=str)
def test_far_gates_give_numbers(
    options: dict[str, Any], cell_of: Callable[..., Cell], shaken: Callable[..., Stack]
):
    (group,) = shaken([cell_of("variational", **options)]).groups
    gate = torch.tensor([-1e4, -50, 0, 50, 1e4], dtype=torch.float64)[None, :, None].expand(1, 5, 8)
    for part in group.variant.posterior(group.weights, gate):  # type: ignore[attr-defined]
        assert part.isfinite().all()
        assert part.min() > -1e-6 * part.abs().max(), "none is below 0 but by rounding"


@pytest.mark.parametrize("options", PRIORS, ids=str)
def test_probabilities(
    options: dict[str, Any],
    cell_of: Callable[..., Cell],
    vary: Callable[..., Cell],
    shaken: Callable[..., Stack],
    samples: Callable[..., Tensor],
):
    """γ, above one half where the latent is on; or what a Laplace posterior has within μ of μ."""
    cell = vary(cell_of("variational", **options), 0.3)
    group, w = group_of(cell, shaken)
    x = samples(30)
    gate = x @ w["W_enc"] + w["b_enc"]
    found = group.variant.probabilities(group.weights, x)
    assert found is not None
    if cell.model.prior == "laplace":
        q = Laplace(gate.relu(), w["log_scale"].exp())
        expected = q.cdf(2 * gate.relu()) - q.cdf(torch.zeros_like(gate))
    else:
        expected = 1 / (1 + torch.exp(-gate))
        assert (found[0] > 0.5)[group.variant.encode(group.weights, x)[0] > 0].all()
    torch.testing.assert_close(found[0], expected)
