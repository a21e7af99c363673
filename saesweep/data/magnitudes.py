"""How strong a feature is where it fires."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from saesweep.data_config import DataConfig
from saesweep.seeding import stream


@dataclass(frozen=True)
class Magnitudes:
    """The law of the coefficients of each feature, given that it fires.

    `uniform`: low + scale · U with U uniform on [0, 1); `half_normal`: scale · |Z|;
    `rectified_normal`: max(0, low + scale · Z), with Z standard normal.
    """

    law: str
    low: Tensor
    """[n_features]"""
    scale: Tensor
    """[n_features]"""
    means: Tensor
    """[n_features] `magnitude_mean` of each feature"""

    @classmethod
    def of(cls, config: DataConfig, seed: int) -> Magnitudes:
        """Those of ``config``, on the CPU."""
        (mean, std), (last_mean, last_std) = config.magnitude_ends()
        n = config.n_features
        means = torch.linspace(mean, last_mean, n, dtype=torch.float64)
        stds = torch.linspace(std, last_std, n, dtype=torch.float64)
        if config.magnitude_std_spread > 0:
            normal = torch.randn(n, generator=stream(seed, "magnitudes"), dtype=torch.float64)
            stds = (stds + config.magnitude_std_spread * normal).abs()
        if config.magnitudes == "uniform":
            half = math.sqrt(3) * stds
            # Rounding must not make the least coefficient negative, nor [0, 1) begin above 0.
            low = (means - half).where(means - half > 1e-9, 0)
            half = means - low
            scale = 2 * half
        elif config.magnitudes == "half_normal":
            low, scale = torch.zeros_like(means), means * math.sqrt(math.pi / 2)
        else:
            low, scale = means, stds
        return cls(config.magnitudes, low.float(), scale.float(), means.float())

    def to(self, device: str) -> Magnitudes:
        """The same on ``device``."""
        low, scale, means = (part.to(device) for part in (self.low, self.scale, self.means))
        return Magnitudes(self.law, low, scale, means)

    def grid(self, size: int, generator: torch.Generator) -> Tensor:
        """[size, n_features]: a coefficient for every feature of every sample."""
        return self._draw(self.low, self.scale, (size, len(self.low)), generator)

    def some(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """[k]: a coefficient for each of ``features`` [k]."""
        return self._draw(self.low[features], self.scale[features], features.shape, generator)

    def _draw(
        self, low: Tensor, scale: Tensor, shape: tuple[int, ...], generator: torch.Generator
    ) -> Tensor:
        if self.law == "uniform":
            return torch.rand(shape, generator=generator, device=low.device).mul_(scale).add_(low)
        normal = torch.randn(shape, generator=generator, device=low.device)
        return (
            normal.abs_().mul_(scale)
            if self.law == "half_normal"
            else (normal.mul_(scale).add_(low).clamp_(min=0))
        )

    def moments(self) -> tuple[Tensor, Tensor]:
        """[n_features] each: mean and standard deviation of a coefficient, by the law.

        Of max(0, N(μ, s²)), with t = μ/s, the mean is μΦ(t) + sφ(t) and the second moment
        (μ² + s²)Φ(t) + μsφ(t).
        """
        low, scale = self.low.double(), self.scale.double()
        if self.law == "uniform":
            return (low + scale / 2).float(), (scale / math.sqrt(12)).float()
        if self.law == "half_normal":
            mean = scale * math.sqrt(2 / math.pi)
            return mean.float(), (scale * math.sqrt(1 - 2 / math.pi)).float()
        t = low / scale
        below, density = torch.special.ndtr(t), torch.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
        mean = low * below + scale * density
        second = (low**2 + scale**2) * below + low * scale * density
        return mean.float(), (second - mean**2).clamp(min=0).sqrt().float()
