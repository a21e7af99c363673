"""Calibration: whether what is said to be active with probability p is active in a share p."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BINS = 15
"""Equal parts of [0, 1], as Guo et al. (2017) have them."""


class Calibration:
    """Sums over latents and samples, in float64.

    >>> sums = Calibration(torch.device("cpu"))
    >>> sums.add(torch.tensor([[0.9], [0.9]]), torch.tensor([[True], [False]]))
    >>> {name: round(value, 3) for name, value in sums.metrics().items()}
    {'brier': 0.41, 'calibration_error': 0.4}
    """

    def __init__(self, device: torch.device) -> None:
        self.square = torch.zeros((), dtype=torch.float64, device=device)
        self.excess = torch.zeros(BINS, dtype=torch.float64, device=device)
        self.count = 0

    def add(self, probabilities: Tensor, truth: Tensor) -> None:
        """Count ``probabilities`` [samples, dict_size] of what is in ``truth`` [..] or is not."""
        excess = (probabilities - truth.to(probabilities)).flatten()
        # Of a cell that diverged the sums are NaN, whatever the bin.
        bins = (probabilities * BINS).nan_to_num(0).long().clamp_(0, BINS - 1).flatten()
        self.square += excess.double().square().sum()
        self.excess += torch.bincount(bins, excess.double(), minlength=BINS)
        self.count += len(excess)

    def metrics(self) -> dict[str, float]:
        """Mean squared difference, and the differences of the bins, as shares of all."""
        if self.count == 0:
            return {"brier": math.nan, "calibration_error": math.nan}
        return {
            "brier": self.square.item() / self.count,
            "calibration_error": self.excess.abs().sum().item() / self.count,
        }
