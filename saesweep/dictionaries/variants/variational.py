"""variational: a sparse-prior variational autoencoder, whose latents say how sure they are.

    loss = E‖x - x_hat‖² + kl_weight · KL(q(z | x) ‖ p(z))

which is the negative evidence bound of x = z W_dec + b_dec + noise, times twice the variance of the
noise (kl_weight). Latents are independent under q, and x_hat is linear in them, so the expectation
over q has a closed form and no reparametrised draw is needed (a test draws them and compares):

    E‖x - x_hat‖² = ‖x - E[z] W_dec - b_dec‖² + Σ_j Var(z_j)        as atoms have norm 1

`spike_slab` (Tonolini et al. 2019, Variational Sparse Coding): under p, z_j is N(0, s²) with
probability ρ, the prior_rate, and else 0; under q(z | x) it is N(μ, σ²) with probability γ and else
0, where

    gate = (x - b_dec) W_enc + b_enc,  γ = sigmoid(gate)
    μ    = ReLU(exp(r_mag) (gate - b_enc) + b_mag)
    KL   = γ ln(γ / ρ) + (1 - γ) ln((1 - γ) / (1 - ρ)) + γ (μ² + σ² - s² - s² ln(σ² / s²)) / 2 s²

`laplace` (Barello et al. 2018): p is Laplace(0, 1 / ρ), q is Laplace(μ, b) with μ = ReLU(gate), and
KL = -ln(ρ b) + ρ μ + ρ b exp(-μ / b) - 1. It is L1 where b is small.

Under `train.loss: mean` error and divergence are divided by d_in and dict_size: no bound any more.
Afterwards a latent is μ, where it is more probable than not that it is active.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from saesweep.dictionaries.variant import (
    Terms,
    Variant,
    Weights,
    pre_activations,
    row,
    squared,
    stretched_weights,
)
from saesweep.dictionaries.variants.gated import magnitudes, where_open
from saesweep.model_config import VariationalOptions

FIRST_STD = 0.1
"""Where the posterior's scales start, in those of the prior's slab."""


class Variational(Variant):
    """Spike and slab, or Laplace."""

    Options = VariationalOptions

    def coefficients(self) -> list[float]:
        """The weight of the divergence, which is the penalty."""
        return [self.options.kl_weight] * len(self.sparsity)

    def learned(self, dict_size: int) -> dict[str, Tensor]:
        """The posterior's scale of each latent, as a logarithm, and the magnitudes' own path."""
        first = torch.full((dict_size,), math.log(FIRST_STD * self.options.slab_std))
        if self.options.prior == "laplace":
            return {"log_scale": first}
        zeros = torch.zeros(dict_size)
        return {"log_scale": first, "r_mag": zeros, "b_mag": zeros.clone()}

    def encode(self, w: Weights, x: Tensor) -> Tensor:
        """μ, where γ is above one half."""
        return self._latents(w, pre_activations(w, x))

    def _latents(self, w: Weights, gate: Tensor) -> Tensor:
        if self.options.prior == "laplace":
            return gate.relu()
        return where_open(w, gate)

    def probabilities(self, w: Weights, x: Tensor) -> Tensor | None:
        """γ; or under a Laplace posterior its mass on (0, 2 μ), 1 - exp(-μ / b)."""
        gate = pre_activations(w, x)
        if self.options.prior == "laplace":
            return -torch.expm1(-gate.relu() / row(w, "log_scale").exp())
        return gate.sigmoid()

    def posterior(self, w: Weights, gate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, variance and divergence of each latent, of its ``gate``.

        All are [..., samples, dict_size].
        """
        scale = row(w, "log_scale").exp()
        rate = torch.tensor(self.sparsity, dtype=gate.dtype, device=gate.device)
        rate = rate[:, None, None] if w["W_enc"].dim() == 3 else rate
        if self.options.prior == "laplace":
            mean = gate.relu()
            decay = rate * scale * torch.exp(-mean / scale)
            divergence = rate * mean + decay - 1 - (rate * scale).log()
            return mean, (2 * scale**2).expand_as(mean), divergence
        on, size = gate.sigmoid(), magnitudes(w, gate)
        square = size.square() + scale**2
        slab = self.options.slab_std**2
        spikes = on * (logsigmoid(gate) - rate.log()) + (1 - on) * (
            logsigmoid(-gate) - (1 - rate).log()
        )
        slabs = (square / slab - 1 - (scale**2 / slab).log()) / 2
        variance = on * (1 - on) * size.square() + on * scale**2
        return on * size, variance, spikes + on * slabs

    def terms(self, w: Weights, x: Tensor, batch: Mapping[str, Tensor]) -> Terms:
        """The expected error, and the divergence."""
        gate = pre_activations(w, x)
        mean, variance, divergence = self.posterior(w, gate)
        error = squared(self.decode(w, mean) - x) + variance.sum(dim=(-1, -2))
        return Terms(error, divergence.sum(dim=(-1, -2)), self._latents(w, gate))

    def stretched(self, w: Weights, factor: Tensor) -> Weights:
        """γ stays what it is, so under spike and slab the magnitudes alone are stretched."""
        scales = {"log_scale": w["log_scale"] + factor.log()}
        if self.options.prior == "laplace":
            return stretched_weights(w, factor) | scales
        magnitude = {"r_mag": w["r_mag"] + factor.log(), "b_mag": w["b_mag"] * factor}
        return {**w, "W_dec": w["W_dec"] / factor.unsqueeze(-1), **scales, **magnitude}


VARIANT = Variational
