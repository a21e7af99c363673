"""Synthetic neural activations: sparse sums of known features, so that recovery can be measured.

The generators follow the toy models of superposition (Elhage et al. 2022) and the interim report on
sparse autoencoders (Sharkey, Braun and Millidge 2022); `docs/numbers.md` has every law.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from saesweep.config import DataConfig
from saesweep.seeding import stream

EVAL_BLOCK = 256
"""Samples of the evaluation set that share one draw of `correlation: batch`. Small, so that the set
holds many draws and speaks for the marginal probabilities, not for one batch's."""


@dataclass(frozen=True)
class Batch:
    """Samples with the truth behind them."""

    x: Tensor
    """[batch, d_in] activations."""
    codes_true: Tensor
    """[batch, n_features] coefficients; 0 where a feature does not fire."""


class SyntheticSource:
    """Draws batches of activations, each from its own random stream.

    What is drawn once (features, correlation, the evaluation set) is drawn on the CPU, so it is the
    same on every device; training batches are drawn on ``device``.

    >>> source = SyntheticSource(DataConfig(activation_dim=3, n_features=6, mean_active=1), seed=0)
    >>> source.batch(step=0, size=4).x.shape
    torch.Size([4, 3])
    >>> torch.equal(source.batch(7, 4).x, source.batch(7, 4).x)
    True
    """

    def __init__(self, config: DataConfig, seed: int, device: str = "cpu") -> None:
        self.config, self.seed, self.device = config, seed, device
        n, d = config.n_features, config.activation_dim
        self.gaussians = torch.randn(n, d, generator=stream(seed, "features"))
        """[n_features, d_in] the vectors that are normalised to make the features."""
        self.features = self.gaussians / self.gaussians.norm(dim=1, keepdim=True)
        """[n_features, d_in] unit rows."""
        self.probabilities = torch.tensor(list(config.probabilities()), dtype=torch.float64)
        """[n_features] p_i, before a sample in which nothing fires is filled."""
        self.correlation = None if config.correlation == "none" else correlation_matrix(n, seed)
        """[n_features, n_features] the matrix A, or None where features are independent."""
        self._laws = {place: self._law(place) for place in {"cpu", device}}

    def batch(self, step: int, size: int) -> Batch:
        """The training batch of ``step``: ``size`` samples, on the source's device."""
        return self._draw(
            self._laws[self.device], size, stream(self.seed, "data", step, device=self.device)
        )

    def evaluation_set(self, size: int) -> Batch:
        """The ``size`` samples that every cell is measured on, put on the source's device."""
        batch = self.sample_set("eval", size)
        return Batch(batch.x.to(self.device), batch.codes_true.to(self.device))

    def cpu_batch(self, name: str, index: int, size: int) -> Batch:
        """``size`` samples from batch ``index`` of the stream ``name``: on the CPU always."""
        return self._draw(self._laws["cpu"], size, stream(self.seed, name, index))

    def sample_set(self, name: str, size: int) -> Batch:
        """``size`` samples from the stream ``name``, in blocks of 256, on the CPU always."""
        sizes = [min(EVAL_BLOCK, size - start) for start in range(0, size, EVAL_BLOCK)]
        blocks = [self.cpu_batch(name, i, block) for i, block in enumerate(sizes)]
        return Batch(
            torch.cat([block.x for block in blocks]),
            torch.cat([block.codes_true for block in blocks]),
        )

    def _law(self, device: str) -> _Law:
        mixing = thresholds = None
        if self.correlation is not None:
            scale = self.correlation.diagonal().rsqrt()
            unit = self.correlation * scale[:, None] * scale
            per_sample = self.config.correlation == "sample"
            mixing = torch.linalg.cholesky(unit if per_sample else self.correlation)
            thresholds = torch.special.ndtri(self.probabilities)
        return _Law(
            self.features.to(device),
            self.probabilities.float().to(device),
            None if mixing is None else mixing.float().to(device),
            None if thresholds is None else thresholds.float().to(device),
        )

    def _draw(self, law: _Law, size: int, generator: torch.Generator) -> Batch:
        n = self.config.n_features
        codes = torch.rand(size, n, generator=generator, device=law.features.device)
        codes *= self._fires(law, size, generator)
        if self.config.empty_samples == "activate_one":
            _activate_one(codes, generator)
        x = codes @ law.features
        if self.config.noise_std > 0:
            x += self.config.noise_std * torch.randn(x.shape, generator=generator, device=x.device)
        return Batch(x, codes)

    def _fires(self, law: _Law, size: int, generator: torch.Generator) -> Tensor:
        """[size, n_features] which features fire in which sample."""
        n, device = self.config.n_features, law.features.device
        if self.config.correlation == "sample":
            assert law.mixing is not None and law.thresholds is not None
            z = torch.randn(size, n, generator=generator, device=device) @ law.mixing.T
            return z < law.thresholds  # the same as Phi(z) < p
        p = law.probabilities
        if self.config.correlation == "batch":
            assert law.mixing is not None
            z = law.mixing @ torch.randn(n, generator=generator, device=device)
            p = torch.special.ndtr(z) * p
            p = p * (self.config.mean_active / p.sum())
        return torch.rand(size, n, generator=generator, device=device) < p


@dataclass(frozen=True)
class _Law:
    """The tensors that a draw needs, on one device."""

    features: Tensor  # [n_features, d_in]
    probabilities: Tensor  # [n_features]
    mixing: Tensor | None  # [n_features, n_features], lower triangular: z = mixing @ normal
    thresholds: Tensor | None  # [n_features], Phi^-1(p)


def correlation_matrix(n: int, seed: int) -> Tensor:
    """A [n, n] in float64: (U + U^T)/2 with U uniform on [0, 1), made positive definite.

    When its smallest eigenvalue m is negative, 1.001 m is taken off the diagonal.
    """
    uniform = torch.rand(n, n, generator=stream(seed, "correlation"), dtype=torch.float64)
    matrix = (uniform + uniform.T) / 2
    smallest = torch.linalg.eigvalsh(matrix)[0].item()
    return matrix - 1.001 * smallest * torch.eye(n, dtype=torch.float64) if smallest < 0 else matrix


def _activate_one(codes: Tensor, generator: torch.Generator) -> None:
    """Give each row of ``codes`` [batch, n_features] that is all zero one entry of 1, in place.

    By scatter and not by index, so that a GPU need not tell the host which rows those are.
    """
    size, n = codes.shape
    chosen = torch.randint(n, (size, 1), generator=generator, device=codes.device)
    empty = codes.sum(dim=1, keepdim=True) == 0
    codes.scatter_add_(1, chosen, empty.to(codes.dtype))  # adds 0 where the row is not empty
