"""Synthetic neural activations: sparse sums of known features, so that recovery can be measured.

The generators follow the toy models of superposition (Elhage et al. 2022), the interim report on
sparse autoencoders (Sharkey, Braun and Millidge 2022) and SynthSAEBench (Chanin and Garriga-Alonso
2026); `docs/numbers.md` has every law.
"""

from __future__ import annotations

import torch
from torch import Tensor

from saesweep.data.batch import Batch
from saesweep.data.correlation import correlation_matrix, loadings
from saesweep.data.dense import DenseLaw
from saesweep.data.directions import bias, pushed_apart
from saesweep.data.magnitudes import Magnitudes
from saesweep.data.sparse import SparseLaw
from saesweep.data.sparse_codes import SparseCodes
from saesweep.data_config import DataConfig
from saesweep.seeding import stream

EVAL_BLOCK = 256
"""Samples of the evaluation set that share one draw of `correlation: batch`. Small, so that the set
holds many draws and speaks for the marginal probabilities, not for one batch's."""


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
        if config.directions == "pushed_apart":
            self.features = pushed_apart(self.features)
        self.probabilities = torch.tensor(list(config.probabilities()), dtype=torch.float64)
        """[n_features] p_i, before a sample in which nothing fires is filled."""
        self.magnitudes = Magnitudes.of(config, seed)
        """The law of the coefficients."""
        full = config.correlation in ("batch", "sample")
        self.correlation = correlation_matrix(n, seed) if full else None
        """[n_features, n_features] the matrix A, or None where there is none."""
        low_rank = config.correlation == "low_rank"
        rank, scale = config.correlation_rank, config.correlation_scale
        self.loadings = loadings(n, rank, scale, seed) if low_rank else None
        """[n_features, rank] the loadings of `low_rank`, or None."""
        self.bias = bias(d, config.bias_norm, seed)
        """[d_in] what is added to every activation."""
        self._laws = {place: self._law(place) for place in {"cpu", device}}

    def batch(self, step: int, size: int) -> Batch:
        """The training batch of ``step``: ``size`` samples, on the source's device."""
        return self._draw(size, stream(self.seed, "data", step, device=self.device), self.device)

    def evaluation_set(self, size: int) -> Batch:
        """The ``size`` samples that every cell is measured on, put on the source's device."""
        return self.sample_set("eval", size).to(self.device)

    def cpu_batch(self, name: str, index: int, size: int) -> Batch:
        """``size`` samples from batch ``index`` of the stream ``name``: on the CPU always."""
        return self._draw(size, stream(self.seed, name, index), "cpu")

    def sample_set(self, name: str, size: int) -> Batch:
        """``size`` samples from the stream ``name``, in blocks of 256, on the CPU always."""
        sizes = [min(EVAL_BLOCK, size - start) for start in range(0, size, EVAL_BLOCK)]
        blocks = [self.cpu_batch(name, i, block) for i, block in enumerate(sizes)]
        dense = [block.codes for block in blocks if isinstance(block.codes, Tensor)]
        sparse = [block.codes for block in blocks if isinstance(block.codes, SparseCodes)]
        codes = SparseCodes.join(sparse) if sparse else torch.cat(dense)
        return Batch(torch.cat([block.x for block in blocks]), codes)

    def _law(self, device: str) -> tuple[DenseLaw | SparseLaw, Tensor, Tensor]:
        """What a draw needs on ``device``: the law of the coefficients, features, bias."""
        parts = (self.config, self.probabilities, self.magnitudes)
        law: DenseLaw | SparseLaw = (
            SparseLaw(*parts, self.loadings, device)
            if self.config.is_sparse()
            else DenseLaw(*parts, self.correlation, device)
        )
        return law, self.features.to(device), self.bias.to(device)

    def _draw(self, size: int, generator: torch.Generator, device: str) -> Batch:
        law, features, bias = self._laws[device]
        codes = law.draw(size, generator)
        x = codes @ features if isinstance(codes, Tensor) else codes.times(features)
        if self.config.noise_std > 0:
            x += self.config.noise_std * torch.randn(x.shape, generator=generator, device=x.device)
        if self.config.bias_norm > 0:
            x += bias
        return Batch(x, codes)
