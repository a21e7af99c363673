"""Sums over the evaluation set, from which every metric of latents and reconstructions follows.

One pass in chunks: nothing of the size [samples, dict_size] is ever held whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from saesweep.data.batch import Batch

SHORTEST = 1e-6
"""Samples with a norm up to this say nothing about shrinkage."""


class EvaluationSet:
    """The samples every cell is measured on, with what depends on them alone."""

    def __init__(self, batch: Batch, features: Tensor) -> None:
        self.x = batch.x
        """[samples, d_in]"""
        self.codes = batch.sparse_codes
        """[samples, n_features] the coefficients, which say what fires in which sample"""
        self.features = features.to(batch.x.device)
        """[n_features, d_in] unit rows"""
        self.square = sum_of_squares(self.x, 0)
        """Σ‖x‖²"""
        self.variance = sum_of_squares(self.x, self.x.mean(dim=0, dtype=torch.float64))
        """Σ(x - mean x)²"""
        self.feature_counts = self.codes.counts()
        """[n_features] in how many samples each feature fires"""
        norms = torch.linalg.vector_norm(self.x, dim=1)
        self.inverse_norms = torch.where(norms > SHORTEST, 1 / norms, 0)
        """[samples] 1/‖x‖, and 0 where ‖x‖ is too short to count"""
        self.counted = (norms > SHORTEST).sum()

    def __len__(self) -> int:
        return len(self.x)

    @property
    def true_l0(self) -> float:
        """Mean count of active features per sample."""
        return self.feature_counts.sum().item() / len(self)


@dataclass(frozen=True)
class Totals:
    """Sums over an evaluation set for dictionaries with a leading cell axis, in float64."""

    squared_error: Tensor
    """[cells] Σ(x - x_hat)²"""
    latent_sum: Tensor
    """[cells] Σ‖latents‖₁"""
    norm_ratios: Tensor
    """[cells] Σ‖x_hat‖/‖x‖"""
    made_square: Tensor
    """[cells] Σ‖h‖², where h = x_hat - b_dec is what the latents make"""
    made_product: Tensor
    """[cells] Σx·h"""
    made_sum: Tensor
    """[cells, d_in] Σh, where there is a b_dec"""
    fires: Tensor
    """[cells, dict_size] in how many samples each latent is non-zero"""

    @classmethod
    def zero(cls, cells: int, dict_size: int, data: EvaluationSet) -> Totals:
        """All sums at zero."""
        device = data.x.device
        zeros = torch.zeros(5, cells, dtype=torch.float64, device=device)
        sums = torch.zeros(cells, data.x.shape[1], dtype=torch.float64, device=device)
        fires = torch.zeros(cells, dict_size, dtype=torch.int64, device=device)
        return cls(zeros[0], zeros[1], zeros[2], zeros[3], zeros[4], sums, fires)

    def add(
        self,
        data: EvaluationSet,
        start: int,
        latents: Tensor,
        x_hat: Tensor,
        b_dec: Tensor | None = None,
    ) -> None:
        """Count the samples from ``start`` on.

        ``latents`` [cells, samples, dict_size], none negative, and ``x_hat`` [cells, samples,
        d_in], of which ``b_dec`` [cells, 1, d_in] is a part; the first two are overwritten.
        """
        place = slice(start, start + latents.shape[1])
        x = data.x[place]
        # Sums over samples are products with ones: five times as fast on a CPU as sums of booleans.
        # Counts stay exact, as a chunk has far fewer samples than the 2^24 that float32 counts.
        ones = latents.new_ones(len(latents), 1, latents.shape[1])
        norms = torch.linalg.vector_norm(x_hat, dim=-1)
        self.norm_ratios.add_(norms @ data.inverse_norms[place])
        made = x_hat
        if b_dec is not None:
            made = x_hat - b_dec
            norms = torch.linalg.vector_norm(made, dim=-1)
            self.made_sum.add_((ones @ made).squeeze(1))
        self.made_square.add_(norms.double().square().sum(dim=1))
        self.made_product.add_(made.reshape(len(made), -1) @ x.reshape(-1))
        residual = torch.linalg.vector_norm(x_hat.sub_(x), dim=-1)
        self.squared_error.add_(residual.double().square().sum(dim=1))
        self.latent_sum.add_((ones @ latents).sum(dim=(1, 2)))
        self.fires.add_((ones @ latents.sign_()).squeeze(1).long())


def sum_of_squares(x: Tensor, mean: Tensor | float) -> Tensor:
    """Σ(x - mean)² over all entries of ``x`` [samples, d_in], in float64, a part at a time.

    >>> sum_of_squares(torch.tensor([[1.0], [3.0]]), 2.0).item()
    2.0
    """
    parts = [(part.double() - mean).square().sum() for part in x.split(4096)]
    return torch.stack(parts).sum()
