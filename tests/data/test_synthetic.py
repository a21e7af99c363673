"""The laws of the synthetic activations, against scipy, numpy and probability.

Statistical tests have a fixed seed, so they pass or fail for good. Their tolerance is five standard
errors, computed from the law under test: a right generator would fail such a comparison for about
one seed in two million.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from saesweep.config import DataConfig
from saesweep.data.correlation import correlation_matrix
from saesweep.data.synthetic import SyntheticSource

SIGMAS = 5
N, D, DECAY, MEAN = 6, 4, 0.8, 1.5


def source(seed: int = 0, **changes: Any) -> SyntheticSource:
    settings = {"activation_dim": D, "n_features": N, "mean_active": MEAN, "decay": DECAY}
    return SyntheticSource(DataConfig(**{**settings, **changes}), seed)


def expected_probabilities(decay: float = DECAY, mean: float = MEAN) -> np.ndarray:
    """p_i of DESIGN: decay**i, rescaled so that they sum to the mean."""
    weights = decay ** np.arange(N)
    return mean * weights / weights.sum()


def fires(codes: torch.Tensor) -> np.ndarray:
    return (codes > 0).double().numpy()


def assert_shares(found: np.ndarray, probability: np.ndarray, count: int) -> None:
    """Shares of ``count`` independent samples are within 5 binomial standard errors."""
    error = np.sqrt(probability * (1 - probability) / count)
    assert np.all(np.abs(found - probability) <= SIGMAS * error), (found - probability) / error


# Features


def test_features_are_the_gaussians_at_norm_one():
    made = source(n_features=500, activation_dim=7, mean_active=1, decay=1.0)
    gaussians = made.gaussians.double().numpy()
    norms = np.linalg.norm(gaussians, axis=1, keepdims=True)
    np.testing.assert_allclose(made.features.numpy(), gaussians / norms, rtol=1e-6)
    assert stats.kstest(gaussians.ravel(), "norm").pvalue > 1e-4
    assert stats.kstest(norms.ravel() ** 2, "chi2", args=(7,)).pvalue > 1e-4


def test_features_point_everywhere_alike():
    # On the unit sphere in d dimensions E v = 0 and E v v^T = I/d; Var v_i v_j = 1/(d(d+2)) for
    # i ≠ j and 2(d-1)/(d²(d+2)) for i = j.
    n, d = 20_000, 4
    v = source(n_features=n, activation_dim=d, mean_active=1, decay=1.0).features.double().numpy()
    assert np.abs(v.mean(axis=0)).max() < SIGMAS * (1 / (d * n)) ** 0.5
    error = np.full((d, d), (1 / (d * (d + 2) * n)) ** 0.5)
    np.fill_diagonal(error, (2 * (d - 1) / (d**2 * (d + 2) * n)) ** 0.5)
    assert np.all(np.abs(v.T @ v / n - np.eye(d) / d) < SIGMAS * error)


# The matrix A


def test_matrix_is_a_symmetric_uniform_one_made_positive_definite():
    n = 60
    A = correlation_matrix(n, seed=1).numpy()
    assert np.array_equal(A, A.T)
    off = A[np.triu_indices(n, k=1)]
    # (U + U')/2 is triangular on [0, 1) with its mode in the middle.
    assert stats.kstest(off, "triang", args=(0.5,)).pvalue > 1e-4
    # The smallest eigenvalue m < 0 of (U + U^T)/2 has become m - 1.001 m = -0.001 m, which tells m;
    # with 1.001 m put back, the diagonal is that of U.
    smallest = np.linalg.eigvalsh(A)[0]
    assert smallest > 0
    m = -smallest / 0.001
    diagonal = np.diag(A) + 1.001 * m
    assert stats.kstest(diagonal, "uniform").pvalue > 1e-4
    assert np.linalg.eigvalsh(A + 1.001 * m * np.eye(n))[0] == pytest.approx(m, rel=1e-6)


def test_matrix_that_is_positive_definite_stays():
    assert 0 <= correlation_matrix(1, seed=0).item() < 1
    # (U + U^T)/2 of two features often is: U_11 U_22 > U_12².
    seeds = [s for s in range(50) if torch.linalg.eigvalsh(correlation_matrix(2, s))[0] > 0.01]
    assert seeds
    for seed in seeds:
        A = correlation_matrix(2, seed)
        assert A.min() >= 0
        assert A.max() < 1


# Which features fire


@pytest.mark.parametrize("mode", ["none", "sample"])
def test_marginal_probabilities_are_exact(mode: str):
    size = 400_000
    codes = source(correlation=mode, empty_samples="keep").batch(0, size).codes_true
    assert_shares(fires(codes).mean(axis=0), expected_probabilities(), size)


def test_without_correlation_features_are_independent():
    size = 400_000
    p = expected_probabilities()
    found = fires(source(empty_samples="keep").batch(1, size).codes_true)
    for i, j in combinations(range(N), 2):
        assert_shares(np.mean(found[:, i] * found[:, j]), p[i] * p[j], size)
    # Independence of all, not only of pairs: the count has the Poisson binomial law.
    law = np.ones(1)
    for probability in p:
        law = np.convolve(law, [1 - probability, probability])
    assert_shares(np.bincount(found.sum(axis=1).astype(int), minlength=N + 1) / size, law, size)


def test_sample_mode_is_a_gaussian_copula():
    size = 400_000
    made = source(correlation="sample", empty_samples="keep")
    found = fires(made.batch(2, size).codes_true)
    assert made.correlation is not None
    A = made.correlation.numpy()
    rho = A / np.sqrt(np.outer(np.diag(A), np.diag(A)))
    thresholds = stats.norm.ppf(expected_probabilities())
    far_from_independent = 0
    for i, j in combinations(range(N), 2):
        law = stats.multivariate_normal(cov=[[1, rho[i, j]], [rho[i, j], 1]])
        together = float(law.cdf(thresholds[[i, j]]))
        assert_shares(np.mean(found[:, i] * found[:, j]), together, size)
        independent = np.prod(expected_probabilities()[[i, j]])
        far_from_independent += abs(together - independent) > 0.02
    assert far_from_independent > 5, "the comparison should tell a copula from independence"


def test_sample_mode_draws_every_sample_anew():
    # Firing in one sample says nothing about the next one.
    size = 200_000
    found = fires(source(correlation="sample", empty_samples="keep").batch(3, size).codes_true)
    p = found.mean(axis=0)
    for i in range(N):
        assert_shares(np.mean(found[1:, i] * found[:-1, i]), p[i] ** 2, size // 2)


def test_batch_mode_draws_probabilities_once_a_batch():
    """Against probabilities of batches that numpy draws: Phi(z) decay**i, rescaled to the mean."""
    # A mean so low that no probability of a batch can exceed 1.
    mean, batches, size = 0.9, 3000, 64
    made = source(seed=4, correlation="batch", empty_samples="keep", mean_active=mean)
    counts = np.stack([fires(made.batch(t, size).codes_true).sum(axis=0) for t in range(batches)])

    assert made.correlation is not None
    z = np.random.default_rng(0).multivariate_normal(
        np.zeros(N), made.correlation.numpy(), size=200_000
    )
    p = stats.norm.cdf(z) * DECAY ** np.arange(N)
    p *= mean / p.sum(axis=1, keepdims=True)

    def agree(found: np.ndarray, law: np.ndarray) -> None:
        error = np.sqrt(found.var(axis=0) / len(found) + law.var(axis=0) / len(law))
        assert np.all(np.abs(found.mean(axis=0) - law.mean(axis=0)) <= SIGMAS * error)

    agree(counts / size, p)
    # Two samples of one batch share its probabilities: E[fires in one and in the other] = E[p²].
    agree(counts * (counts - 1) / (size * (size - 1)), p**2)
    for i, j in combinations(range(N), 2):
        agree(counts[:, i] * counts[:, j] / size**2, p[:, i] * p[:, j])
    # Batches are independent: E[p p'] = E[p] E[p'].
    neighbours = counts[1:] * counts[:-1] / size**2
    error = neighbours.std(axis=0) / len(neighbours) ** 0.5
    assert np.all(np.abs(neighbours.mean(axis=0) - p.mean(axis=0) ** 2) <= SIGMAS * error)


def test_batch_mode_is_independent_within_a_batch():
    size = 200_000
    made = source(seed=5, correlation="batch", empty_samples="keep", mean_active=0.9)
    found = fires(made.batch(0, size).codes_true)
    p = found.mean(axis=0)
    assert p.sum() == pytest.approx(0.9, abs=SIGMAS * (0.9 / size) ** 0.5)
    assert np.abs(p - expected_probabilities(mean=0.9)).max() > 0.02, "not this batch's own"
    for i, j in combinations(range(N), 2):
        assert_shares(np.mean(found[:, i] * found[:, j]), p[i] * p[j], size // 2)


def test_unscaled_probabilities():
    # The original uncorrelated generator: decay 0.99, n = 512, mean 5 gives 0.97 active features.
    config = DataConfig(
        activation_dim=8,
        n_features=512,
        mean_active=5,
        decay=0.99,
        rescale=False,
        empty_samples="keep",
    )
    p = 0.99 ** np.arange(512) * 5 / 512
    assert p.sum() == pytest.approx(0.97, abs=0.005)
    size = 20_000
    found = fires(SyntheticSource(config, seed=0).batch(0, size).codes_true)
    assert found.sum(axis=1).mean() == pytest.approx(p.sum(), abs=SIGMAS * (p.sum() / size) ** 0.5)
    assert_shares(found[:, :4].mean(axis=0), p[:4], size)


def test_certain_features_always_fire():
    codes = source(mean_active=N, decay=1.0).batch(0, 1000).codes_true
    assert (codes > 0).float().mean() > 0.999  # a coefficient may be 0 itself, but hardly ever


# Coefficients, empty samples, noise


@pytest.mark.parametrize("mode", ["none", "batch", "sample"])
def test_coefficients_are_uniform_whatever_fires(mode: str):
    codes = (
        source(correlation=mode, empty_samples="keep", mean_active=0.9).batch(0, 60_000).codes_true
    )
    for column in codes.double().numpy().T:
        drawn = column[column > 0]
        assert drawn.max() < 1
        assert stats.kstest(drawn, "uniform").pvalue > 1e-4
    both = codes[(codes[:, 0] > 0) & (codes[:, 1] > 0)].double().numpy()
    assert abs(np.corrcoef(both[:, 0], both[:, 1])[0, 1]) < SIGMAS * len(both) ** -0.5


@pytest.mark.parametrize("mode", ["none", "batch", "sample"])
def test_an_empty_sample_gets_one_feature_of_strength_one(mode: str):
    size = 60_000
    kept = source(correlation=mode, empty_samples="keep", mean_active=0.9).batch(0, size).codes_true
    filled = source(correlation=mode, mean_active=0.9).batch(0, size).codes_true
    empty = (kept == 0).all(dim=1)
    assert 0.1 < empty.double().mean() < 0.9
    assert torch.equal(filled[~empty], kept[~empty])
    added = filled[empty]
    assert ((added == 1).sum(dim=1) == 1).all()
    assert ((added != 0).sum(dim=1) == 1).all()
    assert stats.chisquare(added.sum(dim=0).numpy()).pvalue > 1e-4, "uniform over the features"


def test_filling_raises_frequencies_by_the_share_of_empty_samples():
    size = 400_000
    p = expected_probabilities()
    law = p + np.prod(1 - p) / N
    assert_shares(fires(source().batch(0, size).codes_true).mean(axis=0), law, size)


def test_activations_are_sums_of_features():
    made = source(correlation="sample")
    batch = made.batch(3, 500)
    truth = batch.codes_true.double().numpy() @ made.features.double().numpy()
    np.testing.assert_allclose(batch.x.numpy(), truth, atol=1e-6)


def test_noise_is_normal_and_added_to_x():
    quiet, noisy = source().batch(3, 20_000), source(noise_std=0.3).batch(3, 20_000)
    assert torch.equal(quiet.codes_true, noisy.codes_true)
    noise = (noisy.x - quiet.x).double().numpy() / 0.3
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-4
    assert np.abs(np.corrcoef(noise.T) - np.eye(D)).max() < SIGMAS * len(noise) ** -0.5


# Streams


@pytest.mark.parametrize("mode", ["none", "batch", "sample"])
def test_a_batch_depends_on_its_step_alone(mode: str):
    worn, fresh = source(correlation=mode), source(correlation=mode)
    for step in (0, 3, 1):
        worn.batch(step, 100)
    worn.evaluation_set(300)
    torch.manual_seed(99)
    one, other = worn.batch(7, 50), fresh.batch(7, 50)
    assert torch.equal(one.x, other.x)
    assert torch.equal(one.codes_true, other.codes_true)
    assert not torch.equal(one.x, worn.batch(8, 50).x)
    assert not torch.equal(one.x, source(seed=1, correlation=mode).batch(7, 50).x)


def test_drawing_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    source(correlation="batch", noise_std=0.1).batch(0, 10)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("mode", ["none", "batch", "sample"])
def test_evaluation_set_is_drawn_apart_from_training(mode: str):
    made = source(correlation=mode, empty_samples="keep", mean_active=3)
    evaluation = made.evaluation_set(1000).codes_true
    training = torch.cat([made.batch(step, 256).codes_true for step in range(40)])
    # Coefficients have 24 random bits, so rows of two and more never meet by chance.
    rich = evaluation[(evaluation > 0).sum(dim=1) >= 2]
    seen = {tuple(row) for row in training.tolist()}
    assert len(rich) > 500
    assert not any(tuple(row) in seen for row in rich.tolist())
    assert len({tuple(row) for row in rich.tolist()}) == len(rich), "and no sample comes twice"


@pytest.mark.parametrize("size", [1, 255, 256, 257, 1000])
def test_evaluation_set_grows_at_its_end(size: int):
    made = source(correlation="batch")
    whole = made.evaluation_set(1024)
    part = made.evaluation_set(size)
    assert part.x.shape == (size, D)
    full_blocks = size // 256 * 256
    assert torch.equal(part.x[:full_blocks], whole.x[:full_blocks])


def test_evaluation_set_speaks_for_all_batches():
    # With one draw of z for the whole set it would have the frequencies of one batch: a standard
    # deviation of about 0.1. With a draw every 256 samples it has the law's.
    made = source(correlation="batch", empty_samples="keep", mean_active=0.9)
    found = fires(made.evaluation_set(65_536).codes_true)
    assert made.correlation is not None
    z = np.random.default_rng(1).multivariate_normal(
        np.zeros(N), made.correlation.numpy(), size=100_000
    )
    p = stats.norm.cdf(z) * DECAY ** np.arange(N)
    p *= 0.9 / p.sum(axis=1, keepdims=True)
    blocks = found.reshape(-1, 256, N).mean(axis=1)
    error = blocks.std(axis=0) / len(blocks) ** 0.5
    assert np.all(np.abs(blocks.mean(axis=0) - p.mean(axis=0)) < SIGMAS * error)
