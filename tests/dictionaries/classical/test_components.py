"""ICA's two dictionaries where both are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from saesweep.data.batch import Batch
from saesweep.dictionaries.baselines import fits


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def mixed() -> tuple[np.ndarray, Batch]:
    """Four independent sources, uniform and so not Gaussian, along directions not orthogonal."""
    rng = np.random.default_rng(0)
    features = unit(rng.normal(size=(4, 4)))
    codes = rng.uniform(size=(8000, 4))
    x = torch.from_numpy(codes @ features).float()
    return features, Batch(x, torch.from_numpy(codes).float())


def test_mixing_finds_the_features_and_components_their_duals(mixed) -> None:
    features, batch = mixed
    made = fits(["ica", "ica_components"], batch, torch.from_numpy(features), (), seed=0)
    mixing, components = (make() for _, make in made)
    # The dual of a feature is orthogonal to all others: what a source is read along.
    duals = unit(np.linalg.inv(features).T)
    for found, expected in ((mixing, features), (components, duals)):
        cosines = np.abs(unit(found.atoms[0].numpy()) @ expected.T)
        assert cosines.max(axis=0).min() > 0.99
        assert sorted(cosines.argmax(axis=0)) == [0, 1, 2, 3]
    assert np.abs(features @ duals.T - np.diag(np.diag(features @ duals.T))).max() < 1e-9
    assert mixing.encode is not None and components.encode is not None
    for one, other in zip(mixing.encode(batch), components.encode(batch), strict=True):
        torch.testing.assert_close(one, other)


def test_components_are_those_of_scikit_learn(mixed) -> None:
    from sklearn.decomposition import FastICA

    from saesweep.dictionaries.classical.baseline import state

    features, batch = mixed
    x = batch.x.double().numpy()
    ica = FastICA(4, whiten="unit-variance", max_iter=400, random_state=state(5, "ica")).fit(x)
    ((_, make),) = fits(["ica_components"], batch, torch.from_numpy(features), (), seed=5)
    components = make()
    np.testing.assert_allclose(components.atoms[0], ica.components_, rtol=1e-5, atol=1e-6)
    assert components.encode is not None
    np.testing.assert_allclose(components.encode(batch)[0], ica.transform(x), atol=1e-4)
