"""relu: a penalty on the latents, the variant with which the field began.

    latents = ReLU((x - b_dec) W_enc + b_enc)
    loss    = ‖x - x_hat‖² + α Σ penalty(latents)

with the penalty f (L1: Sharkey et al. 2022, Cunningham et al. 2023, Bricken et al. 2023), f^p (p
below 1 is closer to counting latents: Karvonen et al. 2024) or tanh f (which saturates: Jermyn et
al. 2024). Where atoms may have any norm, f is the latent times the norm of its atom (Conerly et al.
2024).
"""

from __future__ import annotations

import torch
from torch import Tensor

from saesweep.dictionaries.variant import Variant, Weights, pre_activations, stretched_weights
from saesweep.model_config import ReluOptions

SMALLEST = 1e-6
"""What is added to a latent under a power: the slope of f^p at 0 is infinite for p < 1."""


class Relu(Variant):
    """L1 and its relatives."""

    Options = ReluOptions
    transposed = False

    @property
    def is_plain(self) -> bool:
        """Whether its gradient is that of `training/fused.py`: an L1 penalty on unit atoms."""
        options = self.options
        return bool(options.penalty == "lp" and options.lp == 1 and options.unit_norm)

    def encode(self, w: Weights, x: Tensor) -> Tensor:
        """ReLU of the pre-activations."""
        return pre_activations(w, x).relu_()

    def penalty(self, w: Weights, latents: Tensor) -> Tensor:
        """Σ f^p or Σ tanh f."""
        return self.penalty_at(w, latents, self.options.lp)

    def penalty_at(self, w: Weights, latents: Tensor, p: float) -> Tensor:
        """The same with another power than `lp`, which training may lower."""
        if not self.options.unit_norm:
            norms: Tensor = torch.linalg.vector_norm(w["W_dec"], dim=-1)
            latents = latents * norms.unsqueeze(-2)
        if self.options.penalty == "tanh":
            size = latents.tanh()
        else:
            size = latents if p == 1 else (latents + SMALLEST).pow(p) - SMALLEST**p
        return size.sum(dim=(-1, -2))

    def stretched(self, w: Weights, factor: Tensor) -> Weights:
        """ReLU lets a factor above 0 through."""
        return stretched_weights(w, factor)

    def known_penalty(self, l0: Tensor, l1: Tensor) -> Tensor | None:
        """L1's own; it is measured on unit atoms."""
        return l1 if self.options.penalty == "lp" and self.options.lp == 1 else None

    def folded(self, w: Weights) -> Weights:
        """Norms of atoms move into the encoder."""
        if self.options.unit_norm:
            return w
        norms = torch.linalg.vector_norm(w["W_dec"], dim=-1)
        return self.stretched(w, norms.clamp_min(torch.finfo(norms.dtype).tiny))


VARIANT = Relu
