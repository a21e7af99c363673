"""jumprelu: a threshold for each latent, learned under an L0 penalty (Rajamanoharan et al. 2024).

    latents = pre · H(pre - θ),  pre = (x - b_dec) W_enc + b_enc,  θ = exp(log_threshold)
    loss    = ‖x - x_hat‖² + λ Σ H(pre - θ)

H is the step function. Both terms jump at θ, so their derivatives in θ are those of their mean over
the data, estimated with a kernel K of width ε, which is 1 within ½ of 0:

    d latents / dθ = -(θ / ε) K((pre - θ) / ε)        d H / dθ = -(1 / ε) K((pre - θ) / ε)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from saesweep.dictionaries.variant import (
    Terms,
    Variant,
    Weights,
    pre_activations,
    row,
    squared,
    stretched_weights,
)
from saesweep.model_config import JumpReluOptions


class JumpRelu(Variant):
    """A latent is what its pre-activation is, or 0."""

    Options = JumpReluOptions

    def learned(self, dict_size: int) -> dict[str, Tensor]:
        """The logarithms of the thresholds: they stay above 0."""
        return {"log_threshold": torch.full((dict_size,), math.log(self.options.threshold))}

    def encode(self, w: Weights, x: Tensor) -> Tensor:
        """The pre-activations that are above their thresholds."""
        pre = pre_activations(w, x)
        return pre * (pre > row(w, "log_threshold").exp())

    def terms(self, w: Weights, x: Tensor, batch: Mapping[str, Tensor]) -> Terms:
        """Squared error and L0."""
        pre, threshold = pre_activations(w, x), row(w, "log_threshold").exp()
        latents: Tensor = _Jump.apply(pre, threshold, self.options.bandwidth)  # type: ignore[no-untyped-call]
        steps: Tensor = _Step.apply(pre, threshold, self.options.bandwidth)  # type: ignore[no-untyped-call]
        return Terms(squared(self.decode(w, latents) - x), steps.sum(dim=(-1, -2)), latents)

    def known_penalty(self, l0: Tensor, l1: Tensor) -> Tensor | None:
        """L0."""
        return l0

    def stretched(self, w: Weights, factor: Tensor) -> Weights:
        """Thresholds go with the pre-activations."""
        return stretched_weights(w, factor) | {"log_threshold": w["log_threshold"] + factor.log()}


class _Jump(torch.autograd.Function):
    """pre · H(pre - θ) of pre [..., samples, dict_size] and θ [..., 1, dict_size]."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return pre * (pre > threshold)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        pre, threshold = ctx.saved_tensors
        (grad,) = grads
        near = (pre - threshold).abs() < ctx.bandwidth / 2
        at_jump = (grad * near).sum(dim=-2, keepdim=pre.dim() == threshold.dim())
        return grad * (pre > threshold), at_jump * (-threshold / ctx.bandwidth), None


class _Step(torch.autograd.Function):
    """H(pre - θ), whose derivative in pre is taken as 0."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return (pre > threshold).to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None]:
        pre, threshold = ctx.saved_tensors
        (grad,) = grads
        near = (pre - threshold).abs() < ctx.bandwidth / 2
        at_jump = (grad * near).sum(dim=-2, keepdim=pre.dim() == threshold.dim())
        return None, -at_jump / ctx.bandwidth, None


VARIANT = JumpRelu
