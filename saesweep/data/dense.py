"""Coefficients drawn for every feature of every sample: few features, or a full correlation."""

from __future__ import annotations

import torch
from torch import Tensor

from saesweep.data.magnitudes import Magnitudes
from saesweep.data_config import DataConfig


class DenseLaw:
    """The law of the coefficients, with all that a draw needs on one device.

    A draw of a batch takes of the order of batch times n_features random numbers, times n_features
    again where there is a correlation.
    """

    def __init__(
        self,
        config: DataConfig,
        probabilities: Tensor,
        magnitudes: Magnitudes,
        correlation: Tensor | None,
        device: str,
    ) -> None:
        """``probabilities`` [n_features] and ``correlation`` [n_features, n_features], float64."""
        self.config, self.magnitudes = config, magnitudes.to(device)
        self.mean = config.mean()
        self.probabilities = probabilities.float().to(device)
        if correlation is None:
            return
        scale = correlation.diagonal().rsqrt()
        unit = correlation * scale[:, None] * scale
        root = torch.linalg.cholesky(unit if config.correlation == "sample" else correlation)
        self.mixing = root.float().to(device)  # lower triangular: z = mixing @ normal
        self.thresholds = torch.special.ndtri(probabilities).float().to(device)

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """[size, n_features]: the coefficients of ``size`` samples, 0 where none fires."""
        codes = self.magnitudes.grid(size, generator)
        codes *= self._fires(size, generator)
        if self.config.empty_samples == "activate_one":
            _activate_one(codes, generator)
        return codes

    def _fires(self, size: int, generator: torch.Generator) -> Tensor:
        """[size, n_features] which features fire in which sample."""
        n, device = self.config.n_features, self.probabilities.device
        fires: Tensor
        if self.config.correlation == "sample":
            z = torch.randn(size, n, generator=generator, device=device) @ self.mixing.T
            fires = z < self.thresholds  # the same as Phi(z) < p
            return fires
        p = self.probabilities
        if self.config.correlation == "batch":
            z = self.mixing @ torch.randn(n, generator=generator, device=device)
            p = torch.special.ndtr(z) * p
            p = p * (self.mean / p.sum())
        return torch.rand(size, n, generator=generator, device=device) < p


def _activate_one(codes: Tensor, generator: torch.Generator) -> None:
    """Give each row of ``codes`` [batch, n_features] that is all zero one entry of 1, in place.

    By scatter and not by index, so that a GPU need not tell the host which rows those are.
    """
    size, n = codes.shape
    chosen = torch.randint(n, (size, 1), generator=generator, device=codes.device)
    empty = codes.sum(dim=1, keepdim=True) == 0
    codes.scatter_add_(1, chosen, empty.to(codes.dtype))  # adds 0 where the row is not empty
