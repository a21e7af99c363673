"""NMF and dictionary learning where the factors are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import NMF, MiniBatchDictionaryLearning

from saesweep.data.batch import Batch
from saesweep.dictionaries.classical import factors
from saesweep.dictionaries.classical.baseline import Baseline, state
from saesweep.dictionaries.classical.factors import PENALTY, dictionary_learning, nmf


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def matched(baseline: Baseline, features: np.ndarray) -> np.ndarray:
    """The signed cosine of each feature with the atom that is assigned to it."""
    cosines = unit(features) @ unit(baseline.atoms[0].double().numpy()).T
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    assert len(rows) == len(features)
    matches: np.ndarray = cosines[rows, columns]
    return matches


def codes_of(baseline: Baseline, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    assert baseline.encode is not None
    batch = Batch(torch.from_numpy(x).float(), torch.zeros(len(x), 1))
    latents, x_hat = baseline.encode(batch)
    return latents.double().numpy(), x_hat.double().numpy()


def lone(features: np.ndarray, samples: int) -> np.ndarray:
    """Samples in which one feature fires, from 0.5 to 1."""
    rng = np.random.default_rng(1)
    which = rng.integers(len(features), size=samples)
    x: np.ndarray = rng.uniform(0.5, 1, size=(samples, 1)) * features[which]
    return x


def test_nmf_finds_parts_that_are_not_negative() -> None:
    rng = np.random.default_rng(0)
    parts = np.kron(np.eye(4), np.ones((1, 3))) * rng.uniform(0.5, 1, size=(4, 12))
    codes = rng.uniform(size=(600, 4)) * (rng.uniform(size=(600, 4)) < 0.4)
    x = codes @ parts
    found = nmf(torch.from_numpy(x), 4, seed=0)
    assert matched(found, parts).min() > 0.99
    latents, x_hat = codes_of(found, x)
    assert (latents >= 0).all()
    assert np.square(x - x_hat).sum() < 1e-3 * np.square(x).sum()
    np.testing.assert_allclose(latents @ unit(found.atoms[0].double().numpy()), x_hat, atol=1e-5)


def test_nmf_of_data_that_are_not_negative_is_nmf_as_usual() -> None:
    x = np.abs(np.random.default_rng(0).normal(size=(200, 6))).astype(np.float32)
    found = nmf(torch.from_numpy(x).double(), 3, seed=4)
    settings = {"init": "random", "solver": "cd", "max_iter": 15, "tol": 0}
    plain = NMF(3, random_state=state(4, "nmf"), **settings)
    plain.fit(np.hstack([x, np.zeros_like(x)]))
    np.testing.assert_allclose(found.atoms[0], plain.components_[:, :6], rtol=1e-4, atol=1e-5)
    assert np.abs(plain.components_[:, 6:]).max() < 1e-6


def test_nmf_finds_signed_features_that_fire_alone_with_their_signs() -> None:
    features = unit(np.random.default_rng(4).normal(size=(4, 8)))
    found = nmf(torch.from_numpy(lone(features, 500)), 4, seed=0)
    assert matched(found, features).min() > 0.99


@pytest.mark.filterwarnings("ignore:Objective did not converge")
def test_dictionary_learning_finds_more_sparse_features_than_dimensions() -> None:
    features = unit(np.random.default_rng(3).normal(size=(6, 5)))
    found = dictionary_learning(torch.from_numpy(lone(features, 3000)), 8, seed=0)
    assert matched(found, features).mean() > 0.97


def test_codes_of_dictionary_learning_are_optimal_for_its_penalty() -> None:
    """At the least ½‖x - cD‖² + λ Σc with c >= 0 the gradient is 0 where c > 0, and else >= 0."""
    features = unit(np.random.default_rng(3).normal(size=(6, 8)))
    x = lone(features, 400)
    found = dictionary_learning(torch.from_numpy(x), 6, seed=0)
    latents, x_hat = codes_of(found, x[:50])
    atoms = found.atoms[0].double().numpy()
    codes = latents / np.linalg.norm(atoms, axis=1)
    np.testing.assert_allclose(codes @ atoms, x_hat, atol=1e-5)
    gradient = (x_hat - x[:50]) @ atoms.T + PENALTY
    assert (codes >= 0).all()
    assert 0.5 < (codes > 0).sum(axis=1).mean() < 3
    assert np.abs(gradient[codes > 1e-6]).max() < 1e-2
    assert gradient.min() > -1e-2


def test_dictionary_learning_is_that_of_scikit_learn() -> None:
    x = lone(unit(np.random.default_rng(3).normal(size=(4, 6))), 300)
    found = dictionary_learning(torch.from_numpy(x), 4, seed=7)
    model = MiniBatchDictionaryLearning(
        4,
        alpha=0.05,
        max_iter=3,
        tol=0,
        max_no_improvement=None,
        fit_algorithm="cd",
        transform_algorithm="lasso_cd",
        positive_code=True,
        random_state=state(7, "dictionary_learning"),
    ).fit(x)
    np.testing.assert_allclose(found.atoms[0], model.components_, rtol=1e-5, atol=1e-6)
    _, x_hat = codes_of(found, x[:20])
    single = x[:20].astype(np.float32).astype(float)
    np.testing.assert_allclose(x_hat, model.transform(single) @ model.components_, atol=1e-5)


@pytest.mark.parametrize("method", [nmf, dictionary_learning])
def test_a_seed_is_a_start(method) -> None:
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(600, 4)))
    one, again, other = (method(x, 3, seed).atoms for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(("method", "limit"), [(nmf, 300), (dictionary_learning, 100)])
def test_what_would_take_too_long_is_refused(method, limit, monkeypatch) -> None:
    monkeypatch.setattr(factors, "MOST_PRODUCTS", 9 * 300)
    monkeypatch.setattr(factors, "MOST_CODES", 3 * 100)
    with pytest.raises(ValueError, match=f"takes at most {limit} samples with 3 atoms"):
        method(torch.ones(limit + 1, 2).double(), 3, seed=0)
