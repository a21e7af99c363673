"""k-medoids against every choice of medoids."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from saesweep.data.batch import Batch
from saesweep.dictionaries.classical import clusters
from saesweep.dictionaries.classical.clusters import kmedoids


def test_medoids_are_the_best_of_all_choices() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[6.0, 0, 1], [0, 6, 1], [-5, -5, 2]])
    x = np.repeat(centres, 8, axis=0) + 0.3 * rng.normal(size=(24, 3))
    distances = np.linalg.norm(x[:, None] - x[None], axis=2)
    best = min(combinations(range(24), 3), key=lambda c: distances[:, c].min(axis=1).sum())
    found = kmedoids(torch.from_numpy(x), 3, seed=0)
    atoms, expected = found.atoms[0].numpy(), x[list(best)]
    for one, other in zip(*(rows[rows[:, 0].argsort()] for rows in (atoms, expected)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert found.encode is not None
    batch = Batch(torch.from_numpy(x).float(), torch.zeros(24, 3))
    latents, x_hat = found.encode(batch)
    assert ((latents != 0).sum(dim=1) == 1).all()
    nearest = np.array(best)[distances[:, best].argmin(axis=1)]
    np.testing.assert_allclose(x_hat, x[nearest], atol=1e-6)
    np.testing.assert_allclose(latents.sum(dim=1), np.linalg.norm(x[nearest], axis=1), rtol=1e-5)


def test_a_seed_is_a_start() -> None:
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(120, 4)))
    one, again, other = (kmedoids(x, 9, seed).atoms for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_more_samples_than_have_room_for_their_distances_are_refused(monkeypatch) -> None:
    assert clusters.MOST_PAIRS == 8192**2
    monkeypatch.setattr(clusters, "MOST_PAIRS", 100**2)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(101, 2)))
    assert kmedoids(x[:100], 2, seed=0).atoms.shape == (1, 2, 2)
    with pytest.raises(ValueError, match="takes at most 100 samples"):
        kmedoids(x, 2, seed=0)
