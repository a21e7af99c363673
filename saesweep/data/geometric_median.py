"""The point to which activations are nearest, taken together."""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 100
"""Of Weiszfeld's iteration, which is well below 1e-6 of the spread by then."""


def geometric_median(x: Tensor) -> Tensor:
    """[d_in] the point with the least Σ ‖x_i - point‖ over ``x`` [samples, d_in].

    Weiszfeld's iteration (1937): the mean of the samples, each weighed by 1 over its distance.

    >>> geometric_median(torch.tensor([[0.0], [0.0], [0.0], [8.0]])).abs().item() < 1e-3
    True
    """
    points = x.double()
    median = points.mean(dim=0)
    # A sample that the point falls on has the weight of one that is this near.
    nearest = 1e-6 * (points - median).square().sum(dim=1).mean().sqrt().clamp_min(1e-30)
    for _ in range(STEPS):
        distances = torch.linalg.vector_norm(points - median, dim=1).clamp_min(nearest)
        weights = 1 / distances
        median = weights @ points / weights.sum()
    return median.to(x.dtype)
