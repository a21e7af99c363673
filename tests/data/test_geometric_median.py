"""The geometric median, against a general minimiser."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from saesweep.data.geometric_median import geometric_median


def total(point: np.ndarray, x: np.ndarray) -> float:
    """Σ ‖x_i - point‖."""
    return float(np.linalg.norm(x - point, axis=1).sum())


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("heavy", [False, True])
def test_against_a_minimiser(d: int, heavy: bool):
    rng = np.random.default_rng(d)
    x = rng.standard_t(1.5, (201, d)) if heavy else rng.exponential(1, (201, d))
    found = geometric_median(torch.from_numpy(x)).numpy()
    least = minimize(total, np.median(x, axis=0), (x,), method="Nelder-Mead", tol=1e-10)
    np.testing.assert_allclose(found, least.x, atol=2e-3)
    assert total(found, x) <= least.fun * (1 + 1e-6)


def test_of_a_line_it_is_the_median():
    x = torch.tensor([[0.0], [1], [2], [10], [1000]])
    assert geometric_median(x).item() == pytest.approx(2, abs=1e-3)


def test_of_a_symmetric_set_it_is_the_centre():
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    torch.testing.assert_close(geometric_median(corners + 3), torch.full((2,), 3.0))


def test_a_few_far_samples_hardly_move_it():
    x = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    far = x.clone()
    far[:10] = 1e6
    assert (geometric_median(far) - geometric_median(x)).norm() < 0.05
    assert far.mean(dim=0).norm() > 1e3


def test_of_one_point_it_is_that_point():
    for x in (torch.ones(1, 3), torch.ones(7, 3), torch.zeros(4, 2)):
        found = geometric_median(x)
        torch.testing.assert_close(found, x[0])
        assert found.dtype == x.dtype
