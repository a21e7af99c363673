"""Rare events, against binomial and bivariate normal laws."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import stats

from saesweep.data import events
from saesweep.data.correlation import loadings
from saesweep.data.events import Independent, LowRank

SIGMAS = 5
SIZE = 200_000
P = torch.tensor([0.4, 0.02, 1.0, 0.95, 0.003, 0.0, 0.25], dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def table(keys: torch.Tensor, size: int, count: int) -> np.ndarray:
    """[size, count]: where events happen."""
    assert torch.equal(keys, keys.unique()), "ascending, and none twice"
    happens = np.zeros(size * count, dtype=bool)
    happens[keys.numpy()] = True
    return happens.reshape(size, count)


def assert_shares(found: np.ndarray, p: np.ndarray, size: int = SIZE) -> None:
    error = np.sqrt(p * (1 - p) / size)
    assert np.all(np.abs(found - p) <= SIGMAS * error + 1e-12), (found - p) / (error + 1e-12)


def test_independent_events_have_their_probabilities_and_are_independent():
    happens = table(Independent(P).draw(SIZE, generator()), SIZE, len(P))
    p = P.numpy()
    assert_shares(happens.mean(axis=0), p)
    for i, j in combinations(range(len(P)), 2):
        assert_shares(np.mean(happens[:, i] & happens[:, j]), p[i] * p[j])
    # And so are samples: what one has says nothing of the next.
    for i in range(len(P)):
        assert_shares(np.mean(happens[1:, i] & happens[:-1, i]), p[i] ** 2, SIZE // 2)


def test_the_count_of_events_has_the_poisson_binomial_law():
    happens = table(Independent(P).draw(SIZE, generator(1)), SIZE, len(P))
    law = np.ones(1)
    for p in P.tolist():
        law = np.convolve(law, [1 - p, p])
    assert_shares(np.bincount(happens.sum(axis=1), minlength=len(law)) / SIZE, law)


@pytest.mark.parametrize("p", [[0.0, 0.0], [1.0, 1.0], [1e-12]])
def test_events_that_never_or_always_happen(p: list[float]):
    happens = table(
        Independent(torch.tensor(p, dtype=torch.float64)).draw(50, generator()), 50, len(p)
    )
    assert np.array_equal(happens, np.full((50, len(p)), p[0] == 1))


def test_low_rank_events_are_a_gaussian_copula():
    p = torch.tensor([0.4, 0.1, 0.02, 1.0, 0.3, 0.05], dtype=torch.float64)
    F = torch.tensor([[0.8, 0.3], [0.7, -0.2], [0.1, 0.9], [0.5, 0.5], [-0.6, 0.6], [0.0, 0.4]])
    happens = table(LowRank(p, F).draw(SIZE, generator(2)), SIZE, len(p))
    assert_shares(happens.mean(axis=0), p.numpy())
    rho = (F @ F.T).double().numpy()
    thresholds = stats.norm.ppf(p.numpy())
    far = 0
    for i, j in combinations([0, 1, 2, 4, 5], 2):
        law = stats.multivariate_normal(cov=[[1, rho[i, j]], [rho[i, j], 1]])
        together = float(law.cdf(thresholds[[i, j]]))
        assert_shares(np.mean(happens[:, i] & happens[:, j]), together)
        far += abs(together - float(p[i] * p[j])) > 0.01
    assert far >= 3, "the comparison should tell a copula from independence"


def test_factors_are_drawn_for_every_sample(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events, "CHUNK", 64)  # many chunks
    p = torch.full((3,), 0.3, dtype=torch.float64)
    happens = table(LowRank(p, torch.full((3, 1), 0.9)).draw(20_000, generator(3)), 20_000, 3)
    assert_shares(happens.mean(axis=0), p.numpy(), 20_000)
    for i in range(3):
        assert_shares(np.mean(happens[1:, i] & happens[:-1, i]), 0.3**2, 10_000)


def test_without_loadings_events_are_independent():
    happens = table(LowRank(P[:2], torch.zeros(2, 3)).draw(SIZE, generator(4)), SIZE, 2)
    assert_shares(happens.mean(axis=0), P[:2].numpy())
    assert_shares(np.mean(happens[:, 0] & happens[:, 1]), np.array(0.4 * 0.02))


def test_loadings_are_normal_and_leave_each_feature_a_part_of_its_own():
    F = loadings(3000, rank=4, scale=0.1, seed=1).double().numpy()
    assert stats.kstest(F.ravel() / 0.1, "norm").pvalue > 1e-4
    large = loadings(200, rank=50, scale=1.0, seed=1)
    np.testing.assert_allclose(large.square().sum(dim=1), np.full(200, 0.99), rtol=1e-5)
    assert torch.equal(loadings(3, 2, 0.0, 0), torch.zeros(3, 2))
