"""Samples of activations, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from saesweep.data.sparse_codes import SparseCodes


@dataclass(frozen=True)
class Batch:
    """Samples, with the truth behind them where it is known."""

    x: Tensor
    """[batch, d_in] activations."""
    codes: Tensor | SparseCodes | None = None
    """[batch, n_features] coefficients; 0 where a feature does not fire. None: no feature is
    known."""

    @property
    def codes_true(self) -> Tensor:
        """The coefficients as a tensor [batch, n_features], which for many features is large."""
        return self.codes if isinstance(self.codes, Tensor) else self.sparse_codes.dense()

    @property
    def sparse_codes(self) -> SparseCodes:
        """Those coefficients alone that are not 0."""
        if self.codes is None:
            return SparseCodes.of(self.x.new_zeros(len(self.x), 0))
        return SparseCodes.of(self.codes) if isinstance(self.codes, Tensor) else self.codes

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, place: slice) -> Batch:
        """The samples in ``place``."""
        return Batch(self.x[place], None if self.codes is None else self.codes[place])

    def to(self, device: str) -> Batch:
        """The same on ``device``."""
        return Batch(self.x.to(device), None if self.codes is None else self.codes.to(device))


class Source(Protocol):
    """Where batches come from."""

    device: str
    """Where they are put."""
    features: Tensor
    """[n_features, d_in] the true directions, unit rows; no rows where none is known."""
    bias: Tensor
    """[d_in] what is known to be added to every activation."""

    def batch(self, step: int, size: int) -> Batch:
        """The training batch of ``step``, with ``size`` samples."""

    def evaluation_set(self, size: int) -> Batch:
        """The samples that every cell is measured on: ``size``, or all that there are."""

    def sample_set(self, name: str, size: int) -> Batch:
        """``size`` samples apart from those, named so that they can be drawn again, on the CPU."""
