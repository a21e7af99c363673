"""Coefficients drawn only where features fire: many features, shared factors, hierarchies."""

from __future__ import annotations

import torch
from torch import Tensor

from saesweep.data.events import Independent, LowRank
from saesweep.data.magnitudes import Magnitudes
from saesweep.data.sparse_codes import SparseCodes
from saesweep.data.trees import Trees
from saesweep.data_config import DataConfig

Firing = tuple[Tensor, Tensor, Tensor]
"""[k] each: samples, the features that fire in them, their coefficients."""


class SparseLaw:
    """The law of the coefficients, with all that a draw needs on one device.

    A draw of a batch costs of the order of its active features, but for the factors of `low_rank`,
    which take batch · n_features · rank multiplications.
    """

    def __init__(
        self,
        config: DataConfig,
        probabilities: Tensor,
        magnitudes: Magnitudes,
        loadings: Tensor | None,
        device: str,
    ) -> None:
        """``probabilities`` [n_features], float64, and ``loadings`` [n_features, rank]."""
        self.config, self.magnitudes = config, magnitudes.to(device)
        self.trees = None
        free = torch.arange(config.n_features)
        if config.hierarchy is not None:
            self.trees = Trees(config.hierarchy, probabilities).to(device)
            free = self.trees.free(config.n_features)
        self.free = free.to(device)
        """[free] the features that wait for no parent"""
        p = probabilities[free].to(device)
        self.events: Independent | LowRank = (
            Independent(p) if loadings is None else LowRank(p, loadings[free].to(device))
        )

    def draw(self, size: int, generator: torch.Generator) -> SparseCodes:
        """The coefficients of ``size`` samples."""
        keys = self.events.draw(size, generator)
        samples, features = keys // len(self.free), self.free[keys % len(self.free)]
        firing = _above_zero(samples, features, self.magnitudes.some(features, generator))
        parts = [firing, *self._descendants(firing, generator)]
        if self.config.empty_samples == "activate_one":
            parts.append(self._fill(size, firing[0], generator))
        samples, features, values = (torch.cat(column) for column in zip(*parts, strict=True))
        order = (samples * self.config.n_features + features).argsort()
        shape = (size, self.config.n_features)
        return SparseCodes.collect(samples[order], features[order], values[order], shape)

    def _descendants(self, firing: Firing, generator: torch.Generator) -> list[Firing]:
        """What fires below the roots of ``firing``, level by level."""
        if self.trees is None:
            return []
        is_root = firing[1] < len(self.trees.levels[0])
        samples, parents, strengths = (column[is_root] for column in firing)
        levels = []
        for _ in range(self.trees.depth):
            places, children = self.trees.children(parents, generator)
            values = self.magnitudes.some(children, generator)
            if self.trees.scale_by_parent:
                values *= strengths[places] / self.magnitudes.means[parents[places]]
            samples, parents, strengths = _above_zero(samples[places], children, values)
            levels.append((samples, parents, strengths))
        return levels

    def _fill(self, size: int, samples: Tensor, generator: torch.Generator) -> Firing:
        """One feature that is no child, with coefficient 1, in each sample not in ``samples``."""
        empty = (torch.bincount(samples, minlength=size) == 0).nonzero().squeeze(1)
        device = samples.device
        chosen = torch.randint(len(self.free), (len(empty),), generator=generator, device=device)
        return empty, self.free[chosen], torch.ones(len(empty), device=device)


def _above_zero(samples: Tensor, features: Tensor, values: Tensor) -> Firing:
    """Without coefficients that came out 0: those features do not fire, nor do their children."""
    kept = values > 0
    return samples[kept], features[kept], values[kept]
