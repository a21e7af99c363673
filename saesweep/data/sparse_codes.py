"""Coefficients of many samples, of which only those are held that are not 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SparseCodes:
    """The coefficients of ``len(offsets) - 1`` samples, sample after sample.

    >>> codes = SparseCodes.of(torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [1.0, 3.0, 0.0]]))
    >>> codes.features, codes.offsets
    (tensor([1, 0, 1]), tensor([0, 1, 1, 3]))
    >>> codes[1:].dense()
    tensor([[0., 0., 0.],
            [1., 3., 0.]])
    """

    offsets: Tensor
    """[samples + 1] where each sample begins, and the end"""
    features: Tensor
    """[active] which feature fires"""
    values: Tensor
    """[active] its coefficient, above 0"""
    n_features: int

    @classmethod
    def of(cls, dense: Tensor) -> SparseCodes:
        """The same as ``dense`` [samples, n_features], whose coefficients are none below 0."""
        samples, features = (dense > 0).nonzero(as_tuple=True)
        return cls.collect(samples, features, dense[samples, features], tuple(dense.shape))

    @classmethod
    def collect(
        cls, samples: Tensor, features: Tensor, values: Tensor, shape: tuple[int, ...]
    ) -> SparseCodes:
        """From ``samples``, ``features`` and ``values`` [active], sorted by sample."""
        rows = torch.arange(shape[0] + 1, device=samples.device)
        return cls(torch.searchsorted(samples, rows), features, values, shape[1])

    @classmethod
    def join(cls, parts: Sequence[SparseCodes]) -> SparseCodes:
        """The samples of all ``parts``, one after another."""
        counts = torch.cat([part.offsets.diff() for part in parts])
        return cls(
            torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
            torch.cat([part.features for part in parts]),
            torch.cat([part.values for part in parts]),
            parts[0].n_features,
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, place: slice) -> SparseCodes:
        """The samples in ``place``, a slice without a step."""
        first, last, _ = place.indices(len(self))
        offsets = self.offsets[first : last + 1]
        held = slice(int(offsets[0]), int(offsets[-1]))
        values = self.values[held]
        return SparseCodes(offsets - offsets[0], self.features[held], values, self.n_features)

    def to(self, device: str | torch.device) -> SparseCodes:
        """The same on ``device``."""
        offsets, features = self.offsets.to(device), self.features.to(device)
        return SparseCodes(offsets, features, self.values.to(device), self.n_features)

    def samples(self) -> Tensor:
        """[active] in which sample each feature fires."""
        rows = torch.arange(len(self), device=self.offsets.device)
        return rows.repeat_interleave(self.offsets.diff(), output_size=len(self.features))

    def counts(self) -> Tensor:
        """[n_features] in how many samples each feature fires."""
        return torch.bincount(self.features, minlength=self.n_features)

    def dense(self) -> Tensor:
        """[samples, n_features]: for few samples only."""
        dense = self.values.new_zeros(len(self), self.n_features)
        dense[self.samples(), self.features] = self.values
        return dense

    def fires(self, features: Tensor) -> Tensor:
        """[samples, k], bool: where each of ``features`` [k] fires, which may repeat.

        It takes memory for these features alone.
        """
        different, which = features.unique(return_inverse=True)
        column = torch.full((self.n_features,), -1, device=features.device)
        column[different] = torch.arange(len(different), device=features.device)
        columns = column[self.features]
        wanted = columns >= 0
        fires = torch.zeros(len(self), len(different), dtype=torch.bool, device=features.device)
        fires[self.samples()[wanted], columns[wanted]] = True
        return fires[:, which]

    def times(self, directions: Tensor) -> Tensor:
        """[samples, d]: the sums of ``directions`` [n_features, d] with these coefficients.

        Measured for 1,024 samples of 35 features of 16,384 in 768 dimensions on one core: 12 ms,
        21 and 35 as COO and CSR products, 295 by adding rows one by one, 930 dense.
        """
        return torch.nn.functional.embedding_bag(
            self.features,
            directions,
            self.offsets,
            mode="sum",
            per_sample_weights=self.values,
            include_last_offset=True,
        )
