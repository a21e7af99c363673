"""What a variant of the autoencoder is: how it encodes, decodes, and what its loss consists of.

Every function takes the weights of one autoencoder, or of several with the cell as leading axis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from saesweep.model_config import Options

Weights = Mapping[str, Tensor]
"""W_enc [..., d_in, dict_size], b_enc [..., dict_size], W_dec [..., dict_size, d_in], unit rows but
with `unit_norm: false`, b_dec [..., d_in] where the model has one, and those of the variant; `...`
is the cell or not."""


@dataclass(frozen=True)
class Terms:
    """What the loss of some samples consists of, [cells] each; the trainer weighs the two."""

    error: Tensor
    """Σ over samples of ‖x - x_hat‖², and what else weighs as much"""
    penalty: Tensor
    """Σ over samples of what is multiplied by `Variant.coefficients`"""
    latents: Tensor
    """[cells, samples, dict_size]: which of them fired"""


class Variant(ABC):
    """One kind of autoencoder, for cells with the same ``options``.

    ``sparsity`` are their values on the axis that makes it sparse, a cell each. A package offers a
    variant of its own as an entry point of the group ``saesweep.variants``: a subclass, with its
    keys in a subclass of `model_config.Options` as ``Options`` (see `docs/variants.md`).
    """

    Options: ClassVar[type[Options]]
    transposed: ClassVar[bool] = True
    """Whether the encoder starts as the decoder's transpose, or as a `torch.nn.Linear`."""

    def __init__(self, options: Any, sparsity: Sequence[float]) -> None:
        self.options, self.sparsity = options, tuple(sparsity)

    def learned(self, dict_size: int) -> dict[str, Tensor]:
        """Parameters beyond encoder, decoder and biases, as they start: [dict_size] each."""
        return {}

    def kept(self) -> dict[str, float]:
        """Numbers of a cell that training keeps without a gradient, as they start."""
        return {}

    def coefficients(self) -> list[float]:
        """What the penalty of each cell is multiplied by: its value on the sparsity axis."""
        return [*self.sparsity]

    @abstractmethod
    def encode(self, w: Weights, x: Tensor) -> Tensor:
        """Latents [..., samples, dict_size] of ``x`` [samples, d_in], none negative."""

    def decode(self, w: Weights, latents: Tensor) -> Tensor:
        """Reconstruction [..., samples, d_in] from ``latents`` [..., samples, dict_size]."""
        x_hat: Tensor = latents @ w["W_dec"]
        return x_hat + row(w, "b_dec") if "b_dec" in w else x_hat

    def probabilities(self, w: Weights, x: Tensor) -> Tensor | None:
        """[..., samples, dict_size] how probable it is that each latent is active, if it says."""
        return None

    def prepare(self, w: Weights, x: Tensor) -> Mapping[str, Tensor]:
        """What `terms` needs to know of the whole batch ``x`` [batch, d_in]; no gradient.

        It is called once a step, and may change what is `kept`, in place.
        """
        return {}

    def active(self, w: Weights, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The latents [..., samples, dict_size] that are trained: by default those of `encode`."""
        return self.encode(w, x)

    def penalty(self, w: Weights, latents: Tensor) -> Tensor:
        """[...] Σ over samples of the penalty on ``latents``."""
        return latents.new_zeros(latents.shape[:-2])

    def terms(self, w: Weights, x: Tensor, batch: Mapping[str, Tensor]) -> Terms:
        """The parts of the loss on ``x`` [samples, d_in], some of a batch that was prepared."""
        latents = self.active(w, x, batch)
        error = squared(self.decode(w, latents) - x)
        return Terms(error, self.penalty(w, latents), latents)

    def known_penalty(self, l0: Tensor, l1: Tensor) -> Tensor | None:
        """[cells] the mean penalty, where it follows from mean L0 and L1 and the error is squared.

        None where the loss takes a pass of its own over the evaluation set.
        """
        return None

    def folded(self, w: Weights) -> Weights:
        """Weights that compute the same, with unit atoms."""
        return w

    def stretched(self, w: Weights, factor: Tensor) -> Weights | None:
        """Weights whose latents are ``factor`` times as large and whose atoms are as much smaller,
        so that x_hat is the same; None where the variant does not say.

        ``factor`` [], or [..., dict_size] where each latent is found without the others, is above
        0.
        """
        return None


def stretched_weights(w: Weights, factor: Tensor) -> dict[str, Tensor]:
    """``w`` with pre-activations times ``factor`` [] or [..., dict_size], and atoms through it."""
    return {
        **w,
        "W_enc": w["W_enc"] * factor.unsqueeze(-2 if factor.dim() else 0),
        "b_enc": w["b_enc"] * factor,
        "W_dec": w["W_dec"] / factor.unsqueeze(-1),
    }


def pre_activations(w: Weights, x: Tensor) -> Tensor:
    """(x - b_dec) W_enc + b_enc: [..., samples, dict_size] of ``x`` [samples, d_in].

    The shift by b_dec moves into the bias, which saves a pass over the samples of each cell.
    """
    b_enc = row(w, "b_enc")
    if "b_dec" in w:
        b_enc = b_enc - row(w, "b_dec") @ w["W_enc"]
    if w["W_enc"].dim() == 2:
        return x @ w["W_enc"] + b_enc
    return torch.baddbmm(b_enc, x.expand(len(b_enc), *x.shape), w["W_enc"])


def row(w: Weights, name: str) -> Tensor:
    """A vector of each cell, [cells, 1, n], or of the one there is, [n]: to go with samples."""
    return w[name].unsqueeze(-2) if w["W_enc"].dim() == 3 else w[name]


def scalar(w: Weights, name: str) -> Tensor:
    """A number of each cell, [cells, 1, 1], or of the one there is, []."""
    return w[name][:, None, None] if w["W_enc"].dim() == 3 else w[name]


def squared(residual: Tensor) -> Tensor:
    """[...] Σ over samples of ‖residual‖², of [..., samples, d_in]."""
    return residual.square().sum(dim=(-1, -2))
