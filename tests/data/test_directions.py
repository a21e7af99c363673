"""Directions that are pushed apart: closed forms of the least sum of squared cosines."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from saesweep.config import DataConfig
from saesweep.data.directions import bias, pushed_apart
from saesweep.data.synthetic import SyntheticSource


@pytest.mark.parametrize(("n", "d"), [(300, 40), (41, 40), (40, 40), (12, 40), (1, 3), (5, 1)])
def test_squared_cosines_sum_to_the_least_there_is(n: int, d: int):
    start = torch.randn(n, d, generator=torch.Generator().manual_seed(0))
    D = pushed_apart(start).double().numpy()
    np.testing.assert_allclose(np.linalg.norm(D, axis=1), 1, rtol=1e-6)
    cosines = D @ D.T
    # The bound of Welch: n²/d with the diagonal for n >= d; orthonormal otherwise. Slowest is the
    # way there just above n = d; unmoved directions are from 1.12 (300 in 40) to 2 times above.
    assert (cosines**2).sum() == pytest.approx(max(n, n**2 / d), rel=1e-3)
    before = start.double().numpy() / np.linalg.norm(start, axis=1, keepdims=True)
    assert (D * before).sum(axis=1).mean() > 0.8, "each stays near where it was"


def test_the_source_has_them():
    random, apart = (
        SyntheticSource(
            DataConfig(activation_dim=8, n_features=20, mean_active=1, directions=directions), 0
        )
        for directions in ("random", "pushed_apart")
    )
    assert torch.equal(random.gaussians, apart.gaussians)
    assert torch.equal(apart.features, pushed_apart(random.features))


def test_a_bias_is_added_to_every_activation():
    config = DataConfig(activation_dim=8, n_features=20, mean_active=1, bias_norm=2.5)
    made = SyntheticSource(config, seed=1)
    assert float(made.bias.norm()) == pytest.approx(2.5)
    batch = made.batch(0, 50)
    expected = batch.codes_true @ made.features + made.bias
    torch.testing.assert_close(batch.x, expected)
    assert not torch.equal(bias(8, 1.0, 0), bias(8, 1.0, 1))
    assert torch.equal(bias(8, 0.0, 0), torch.zeros(8))
