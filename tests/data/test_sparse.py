"""Data of many features: the same laws as the dense one, and hierarchies that always hold."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saesweep import data_config
from saesweep.config import DataConfig
from saesweep.data.sparse_codes import SparseCodes
from saesweep.data.synthetic import SyntheticSource

SIGMAS = 5
SIZE = 100_000
TREES = {"roots": 2, "branching": 2, "depth": 2}


def source(seed: int = 0, **changes: Any) -> SyntheticSource:
    settings = {"activation_dim": 4, "n_features": 6, "mean_active": 1.5, "decay": 0.8}
    return SyntheticSource(DataConfig.model_validate({**settings, **changes}), seed)


def trees(seed: int = 0, **changes: Any) -> SyntheticSource:
    """Two trees of seven features, and three features outside."""
    return source(seed, **{"n_features": 17, "hierarchy": TREES, "mean_active": 2, **changes})


def fires(made: SyntheticSource, size: int = SIZE, step: int = 0) -> np.ndarray:
    return (made.batch(step, size).codes_true > 0).numpy()


def assert_shares(found: np.ndarray, p: np.ndarray, size: int = SIZE) -> None:
    error = np.sqrt(p * (1 - p) / size)
    assert np.all(np.abs(found - p) <= SIGMAS * error + 1e-12), (found - p) / (error + 1e-12)


def children_of(parent: int, roots: int = 2, branching: int = 2) -> list[int]:
    """The numbering of features level by level: roots, then children, siblings side by side."""
    return [roots + parent * branching + i for i in range(branching)]


# Against the dense law


@pytest.mark.parametrize("filled", ["activate_one", "keep"])
def test_it_is_the_law_of_dense_data(filled: str, monkeypatch: pytest.MonkeyPatch):
    dense = source(empty_samples=filled)
    monkeypatch.setattr(data_config, "DENSE_FEATURES", 5)
    sparse = source(empty_samples=filled)
    one, other = dense.batch(0, SIZE), sparse.batch(0, SIZE)
    assert isinstance(one.codes, torch.Tensor)
    assert isinstance(other.codes, SparseCodes)
    assert torch.equal(dense.features, sparse.features)
    torch.testing.assert_close(other.x, other.codes_true @ sparse.features)

    p = 1.5 * 0.8 ** np.arange(6) / (0.8 ** np.arange(6)).sum()
    share = p + (np.prod(1 - p) / 6 if filled == "activate_one" else 0)
    for batch in (one, other):
        found = (batch.codes_true > 0).numpy()
        assert_shares(found.mean(axis=0), share)
        for i, j in combinations(range(6), 2):
            assert_shares(np.mean(found[:, i] & found[:, j]), p[i] * p[j])
    # Coefficients: uniform, but for those of 1 that fill empty samples.
    values = other.codes.values
    drawn = values[values < 1].double().numpy()
    assert abs(drawn.mean() - 0.5) < SIGMAS * (1 / 12 / len(drawn)) ** 0.5
    assert int((values == 1).sum()) == (
        pytest.approx(SIZE * np.prod(1 - p), abs=SIGMAS * (SIZE * 0.2) ** 0.5)
        if filled == "activate_one"
        else 0
    )


def test_many_features_cost_no_matrix():
    made = source(n_features=100_000, mean_active=20, decay=1.0)
    batch = made.batch(0, 512)
    assert isinstance(batch.codes, SparseCodes)
    assert len(batch.codes.features) == pytest.approx(512 * 20, abs=SIGMAS * (512 * 20) ** 0.5)
    some = batch.codes[100:103]
    torch.testing.assert_close(batch.x[100:103], some.dense() @ made.features)
    evaluation = made.evaluation_set(600)
    assert isinstance(evaluation.codes, SparseCodes)
    torch.testing.assert_close(
        evaluation[300:302].x, evaluation[300:302].codes_true @ made.features
    )


def test_low_rank_features_have_their_probabilities_and_correlate_as_their_z():
    changes = {"correlation": "low_rank", "correlation_rank": 2, "correlation_scale": 0.5}
    made = source(empty_samples="keep", **changes)
    found = fires(made)
    assert_shares(found.mean(axis=0), made.probabilities.numpy())
    assert made.loadings is not None
    z = (made.loadings @ made.loadings.T).numpy()[np.triu_indices(6, 1)]
    measured = np.corrcoef(found.T)[np.triu_indices(6, 1)]
    assert np.corrcoef(z, measured)[0, 1] > 0.97


# Hierarchies


@settings(derandomize=True, database=None, deadline=None, max_examples=40)
@given(
    roots=st.integers(1, 3),
    branching=st.integers(1, 3),
    depth=st.integers(1, 3),
    extra=st.integers(0, 4),
    mean=st.floats(0.3, 0.95),
    decay=st.floats(0.8, 1),
    low_rank=st.booleans(),
    law=st.sampled_from(["uniform", "rectified_normal"]),
    scaled=st.booleans(),
    filled=st.sampled_from(["keep", "activate_one"]),
)
def test_no_child_fires_without_its_parent_nor_beside_a_sibling(
    roots: int,
    branching: int,
    depth: int,
    extra: int,
    mean: float,
    decay: float,
    low_rank: bool,
    law: str,
    scaled: bool,
    filled: str,
):
    n = roots * sum(branching**level for level in range(depth + 1)) + extra
    made = source(
        n_features=n,
        mean_active=mean,
        decay=decay,
        correlation="low_rank" if low_rank else "none",
        magnitudes=law,
        magnitude_mean=1,
        magnitude_std=1 if law == "rectified_normal" else None,  # one in six is rectified to 0
        empty_samples=filled,
        hierarchy={
            "roots": roots,
            "branching": branching,
            "depth": depth,
            "scale_by_parent": scaled,
        },
    )
    found = fires(made, size=400)
    inner = roots * sum(branching**level for level in range(depth))
    for parent in range(inner):
        children = found[:, children_of(parent, roots, branching)]
        assert children.sum(axis=1).max() <= 1, "siblings exclude each other"
        assert not (children.any(axis=1) & ~found[:, parent]).any(), "and need their parent"
    if filled == "activate_one":
        assert found.any(axis=1).all()


def test_children_fire_with_their_probabilities():
    made = trees(empty_samples="keep")
    p = made.probabilities.numpy()
    found = fires(made)
    assert_shares(found.mean(axis=0), p)
    for parent in range(6):  # both levels of parents
        for child in children_of(parent):
            together = np.mean(found[:, parent] & found[:, child])
            assert_shares(together, p[child])
    # Trees and the features outside know nothing of each other.
    assert_shares(np.mean(found[:, 0] & found[:, 1]), p[0] * p[1])
    assert_shares(np.mean(found[:, 5] & found[:, 14]), p[5] * p[14])


@pytest.mark.parametrize(("decay", "scaled"), [(0.6, False), (0.9, True)])
def test_siblings_are_scaled_down_to_their_parent(decay: float, scaled: bool):
    p = trees(decay=decay).probabilities.numpy()
    free = decay ** np.arange(17)
    free *= 2 / free.sum()
    for parent in range(6):
        children = children_of(parent)
        scale = min(1, p[parent] / free[children].sum())
        np.testing.assert_allclose(p[children], free[children] * scale)
    np.testing.assert_allclose(p[[0, 1, 14, 15, 16]], free[[0, 1, 14, 15, 16]])
    assert p.sum() == pytest.approx(2) if not scaled else p.sum() < 1.7


def test_correlated_roots_leave_children_their_probabilities():
    made = trees(correlation="low_rank", correlation_scale=0.3, empty_samples="keep")
    found = fires(made)
    assert_shares(found.mean(axis=0), made.probabilities.numpy())
    assert made.loadings is not None
    rho = made.loadings @ made.loadings.T
    assert np.sign(np.corrcoef(found[:, 0], found[:, 1])[0, 1]) == np.sign(float(rho[0, 1]))


def test_a_child_is_as_strong_as_its_parent_makes_it():
    changes = {"magnitudes": "rectified_normal", "magnitude_mean": [4, 2], "magnitude_std": 0}
    plain = trees(**changes, empty_samples="keep")
    means = np.linspace(4, 2, 17)
    codes = plain.batch(0, 2000).codes_true.numpy()
    np.testing.assert_allclose(codes, np.broadcast_to(means, codes.shape) * (codes > 0), rtol=1e-6)

    scaled = trees(
        magnitudes="uniform",
        magnitude_mean=1,
        magnitude_std=0.5,
        empty_samples="keep",
        hierarchy={**TREES, "scale_by_parent": True},
    )
    codes = scaled.batch(0, SIZE).codes_true.double().numpy()
    for parent, child in ((0, 2), (2, 6)):  # a root's child, and that one's
        both = codes[codes[:, child] > 0][:, [parent, child]]
        own = both[:, 1] / both[:, 0]  # uniform on 1 ± 0.5 √3, whatever the parent is
        assert own.max() < 1 + 0.5 * 3**0.5 + 1e-4
        assert abs(own.mean() - 1) < SIGMAS * 0.5 / len(own) ** 0.5
        assert abs(np.corrcoef(own, both[:, 0])[0, 1]) < SIGMAS / len(own) ** 0.5


def test_an_empty_sample_is_filled_by_no_ones_child():
    made = trees(mean_active=0.3)
    codes = made.batch(0, 20_000).codes_true.numpy()
    filled = codes[(codes == 1).any(axis=1)]
    assert len(filled) > 10_000
    assert set(np.flatnonzero(filled.any(axis=0))) == {0, 1, 14, 15, 16}


# Streams


@pytest.mark.parametrize(
    "changes",
    [
        {"n_features": 10_000},
        {"correlation": "low_rank"},
        {"n_features": 14, "hierarchy": TREES, "noise_std": 0.1},
    ],
    ids=["many", "low_rank", "hierarchy"],
)
def test_a_batch_depends_on_its_step_alone(changes: dict[str, Any]):
    worn, fresh = source(**changes), source(**changes)
    for step in (0, 3):
        worn.batch(step, 100)
    torch.manual_seed(99)
    one, other = worn.batch(7, 50), fresh.batch(7, 50)
    assert torch.equal(one.x, other.x)
    assert torch.equal(one.codes_true, other.codes_true)
    assert not torch.equal(one.x, worn.batch(8, 50).x)
    assert not torch.equal(one.x, source(seed=1, **changes).batch(7, 50).x)
    whole, part = worn.evaluation_set(600), worn.evaluation_set(300)
    assert torch.equal(whole.x[:256], part.x[:256])
    assert torch.equal(whole[:256].codes_true, part[:256].codes_true)
