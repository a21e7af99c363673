"""Laws of coefficients, against scipy's distributions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from saesweep.config import DataConfig
from saesweep.data.magnitudes import Magnitudes

N, SIZE = 3, 20_000


def law(**changes: Any) -> Magnitudes:
    return Magnitudes.of(
        DataConfig(activation_dim=4, n_features=N, mean_active=1, **changes), seed=0
    )


def uniform(mean: float, std: float) -> Any:
    return stats.uniform(mean - 3**0.5 * std, 2 * 3**0.5 * std)


def half_normal(mean: float) -> Any:
    return stats.halfnorm(scale=mean * (np.pi / 2) ** 0.5)


# The means of the features are linear from first to last: 2, 1.5, 1.
CASES = {
    "default": ({}, [uniform(0.5, 0.5 / 3**0.5)] * 3),
    "uniform from 0": ({"magnitude_mean": [2, 1]}, [uniform(m, m / 3**0.5) for m in (2, 1.5, 1)]),
    "uniform": (
        {"magnitude_mean": [2, 1], "magnitude_std": [0.1, 0.3]},
        [uniform(2, 0.1), uniform(1.5, 0.2), uniform(1, 0.3)],
    ),
    "half normal": (
        {"magnitudes": "half_normal", "magnitude_mean": [2, 1]},
        [half_normal(m) for m in (2, 1.5, 1)],
    ),
    "normal, hardly rectified": (
        {"magnitudes": "rectified_normal", "magnitude_mean": 5, "magnitude_std": [0.2, 0.6]},
        [stats.norm(5, s) for s in (0.2, 0.4, 0.6)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_coefficients_have_their_law(name: str):
    settings, laws = CASES[name]
    made = law(**settings)
    grid = made.grid(SIZE, torch.Generator().manual_seed(1)).double().numpy()
    features = torch.arange(N).repeat_interleave(SIZE)
    some = made.some(features, torch.Generator().manual_seed(2)).double().numpy()
    means, stds = made.moments()
    for i, expected in enumerate(laws):
        for values in (grid[:, i], some[i * SIZE : (i + 1) * SIZE]):
            assert stats.kstest(values, expected.cdf).pvalue > 1e-4
            assert values.min() >= 0
        assert float(means[i]) == pytest.approx(expected.mean(), rel=1e-5)
        assert float(stds[i]) == pytest.approx(expected.std(), rel=1e-4)


def test_moments_of_rectified_normals_by_integration():
    made = law(magnitudes="rectified_normal", magnitude_mean=[0.5, 2], magnitude_std=1)
    means, stds = made.moments()
    for i, mean in enumerate((0.5, 1.25, 2)):
        normal = stats.norm(mean, 1)
        first = normal.expect(lambda v: v, lb=0)
        second = normal.expect(lambda v: v**2, lb=0)
        assert float(means[i]) == pytest.approx(first, rel=1e-5)
        assert float(stds[i]) == pytest.approx((second - first**2) ** 0.5, rel=1e-4)
    values = made.grid(SIZE, torch.Generator().manual_seed(3)).double().numpy()
    zeros = stats.norm.cdf([-0.5, -1.25, -2])
    error = np.sqrt(zeros * (1 - zeros) / SIZE)
    assert np.all(np.abs((values == 0).mean(axis=0) - zeros) < 5 * error)


def test_a_coefficient_may_be_a_constant():
    made = law(magnitudes="rectified_normal", magnitude_mean=3, magnitude_std=0)
    assert torch.equal(made.grid(5, torch.Generator()), torch.full((5, N), 3.0))
    assert [moment.tolist() for moment in made.moments()] == [[3.0] * N, [0.0] * N]


def test_standard_deviations_may_be_drawn():
    config = DataConfig(
        activation_dim=4,
        n_features=20_000,
        mean_active=1,
        magnitudes="rectified_normal",
        magnitude_mean=9,
        magnitude_std=0.5,
        magnitude_std_spread=0.5,
    )
    drawn = Magnitudes.of(config, seed=4).scale.double().numpy()
    assert stats.kstest(drawn, stats.foldnorm(1, scale=0.5).cdf).pvalue > 1e-4
    assert torch.equal(Magnitudes.of(config, seed=4).scale, torch.from_numpy(drawn).float())
