"""How features depend on each other: a full matrix, or a few shared factors."""

from __future__ import annotations

import torch
from torch import Tensor

from saesweep.seeding import stream

MOST_SHARED = 0.99
"""The largest share of a feature's variance that factors may explain."""


def correlation_matrix(n: int, seed: int) -> Tensor:
    """A [n, n] in float64: (U + U^T)/2 with U uniform on [0, 1), made positive definite.

    When its smallest eigenvalue m is negative, 1.001 m is taken off the diagonal.
    """
    uniform = torch.rand(n, n, generator=stream(seed, "correlation"), dtype=torch.float64)
    matrix = (uniform + uniform.T) / 2
    smallest = torch.linalg.eigvalsh(matrix)[0].item()
    return matrix - 1.001 * smallest * torch.eye(n, dtype=torch.float64) if smallest < 0 else matrix


def loadings(n: int, rank: int, scale: float, seed: int) -> Tensor:
    """F [n, rank]: how much of each factor is in z_i = F_i · f + sqrt(1 - ‖F_i‖²) e_i.

    Entries are N(0, scale²); a row with ‖F_i‖² over 0.99 is scaled down to that. The correlation
    of z_i and z_j is F_i · F_j.

    >>> loadings(3, rank=2, scale=0.1, seed=0).shape
    torch.Size([3, 2])
    """
    factors: Tensor = scale * torch.randn(n, rank, generator=stream(seed, "loadings"))
    norms = factors.norm(dim=1, keepdim=True)
    shrink: Tensor = (MOST_SHARED**0.5 / norms.clamp(min=1e-12)).clamp(max=1)
    return factors * shrink
