"""gated: one path says which latents are active, another how strongly (Rajamanoharan et al. 2024).

    gate    = (x - b_dec) W_enc + b_enc
    latents = H(gate) · ReLU(exp(r_mag) (x - b_dec) W_enc + b_mag)
    loss    = ‖x - x_hat‖² + α Σ ReLU(gate) + ‖x - ReLU(gate) W_dec - b_dec‖²

H is the step function, through which no gradient goes; the last term, in which W_dec and b_dec are
held, makes the gate one that reconstructs. L1 then shrinks the gate and not the latents.
"""

from __future__ import annotations

from collections.abc import Mapping

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
from saesweep.model_config import GatedOptions


class Gated(Variant):
    """Activity and magnitude share directions, up to a scale and a bias a latent."""

    Options = GatedOptions

    def learned(self, dict_size: int) -> dict[str, Tensor]:
        """The magnitude's scale, as a logarithm, and bias."""
        return {"r_mag": torch.zeros(dict_size), "b_mag": torch.zeros(dict_size)}

    def encode(self, w: Weights, x: Tensor) -> Tensor:
        """Magnitudes where the gate is open."""
        return where_open(w, pre_activations(w, x))

    def terms(self, w: Weights, x: Tensor, batch: Mapping[str, Tensor]) -> Terms:
        """Both errors, and L1 of the gate."""
        gate = pre_activations(w, x)
        latents, opened = where_open(w, gate), gate.relu()
        held = {name: w[name].detach() if name in ("W_dec", "b_dec") else w[name] for name in w}
        error = squared(self.decode(w, latents) - x) + squared(self.decode(held, opened) - x)
        return Terms(error, opened.sum(dim=(-1, -2)), latents)

    def stretched(self, w: Weights, factor: Tensor) -> Weights:
        """The gate's sign stays; the magnitude's scale is relative to the encoder's."""
        return stretched_weights(w, factor) | {"b_mag": w["b_mag"] * factor}


def where_open(w: Weights, gate: Tensor) -> Tensor:
    """The magnitudes of those whose ``gate`` [..., samples, dict_size] is above 0, else 0."""
    return magnitudes(w, gate) * (gate > 0)


def magnitudes(w: Weights, gate: Tensor) -> Tensor:
    """ReLU(exp(r_mag) (gate - b_enc) + b_mag), of ``gate`` [..., samples, dict_size]."""
    scale = row(w, "r_mag").exp()
    return (gate * scale + (row(w, "b_mag") - row(w, "b_enc") * scale)).relu()


VARIANT = Gated
