"""Recovery metrics on dictionaries whose numbers are known, and against other libraries."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from sklearn.metrics.pairwise import cosine_similarity

from saesweep.metrics import recovery

SOME = settings(derandomize=True, database=None, deadline=None, max_examples=60)
E1, E2, E3 = torch.eye(3)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Cosines


@SOME
@given(n=st.integers(1, 6), m=st.integers(1, 6), d=st.integers(1, 5), seed=st.integers(0, 99))
def test_cosines_against_scikit_learn(n: int, m: int, d: int, seed: int):
    features, atoms = 3 * random(n, d, seed=seed), 0.2 * random(m, d, seed=seed + 1)
    expected = cosine_similarity(features.double().numpy(), atoms.double().numpy())
    found = recovery.cosines(features, atoms)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_cosines_of_several_cells_at_once():
    features, atoms = random(4, 3), random(2, 5, 3, seed=1)
    together = recovery.cosines(features, atoms)
    assert together.shape == (2, 4, 5)
    for place in range(2):
        torch.testing.assert_close(together[place], recovery.cosines(features, atoms[place]))


def test_a_zero_vector_is_like_nothing():
    C = recovery.cosines(torch.stack([E1, 0 * E1]), torch.stack([0 * E1, E1]))
    assert C.tolist() == [[0, 1], [0, 0]]


# MMCS and learned features


def test_mmcs_by_hand():
    # e1 is met exactly, e2 at 0.6, e3 from behind (cosine -1) and by the atom of e2 at 0.8.
    atoms = torch.stack([2 * E1, 0.6 * E2 + 0.8 * E3, -E3])
    C = recovery.cosines(torch.eye(3), atoms)
    assert recovery.mmcs(C).item() == pytest.approx((1 + 0.6 + 0.8) / 3)


def test_mmcs_is_signed():
    C = recovery.cosines(E1[None], -E1[None])
    assert recovery.mmcs(C).item() == -1
    assert recovery.n_learned(C, 0.9).item() == 0


def test_mmcs_runs_over_features_not_atoms():
    # One feature is found and one is not; of the atoms four of five are on a feature.
    features, atoms = torch.stack([E1, E2]), torch.stack([E1, E1, E1, E1, -E2])
    assert recovery.mmcs(recovery.cosines(features, atoms)).item() == pytest.approx((1 + 0) / 2)


def test_mmcs_between_dictionaries_runs_over_the_smaller():
    small = torch.stack([E1, E2])
    large = torch.stack([E1, 0.6 * E1 + 0.8 * E2, -E3])
    assert recovery.mmcs_between(small, large) == pytest.approx((1 + 0.8) / 2)
    assert recovery.mmcs_between(large, small) == pytest.approx((1 + 0.8 + 0) / 3)
    assert recovery.mmcs_between(large, large) == pytest.approx(1)


def test_learned_means_above_the_threshold():
    C = torch.tensor([[0.91, 0.2], [0.9, 0.0], [0.89, 0.95], [-0.99, -1.0]])
    assert recovery.n_learned(C, 0.9).item() == 2
    assert recovery.n_learned(C, 1.0).item() == 0
    assert recovery.n_learned(torch.stack([C, -C]), 0.9).tolist() == [2, 1]


# MCC


@SOME
@given(n=st.integers(1, 5), m=st.integers(1, 5), seed=st.integers(0, 999))
def test_mcc_against_all_assignments(n: int, m: int, seed: int):
    C = recovery.cosines(random(n, 3, seed=seed), random(m, 3, seed=seed + 5000))
    similarity = C.abs().double().numpy()
    if n > m:
        similarity = similarity.T
    k, others = similarity.shape
    best = max(
        sum(similarity[i, j] for i, j in enumerate(chosen)) / k
        for chosen in permutations(range(others), k)
    )
    assert recovery.mcc(C) == pytest.approx(best, abs=1e-6)


def test_mcc_matches_one_to_one():
    # Both atoms are best on e1, but only one may have it.
    C = torch.tensor([[0.9, 0.8], [0.5, 0.1]])
    assert recovery.mcc(C) == pytest.approx((0.8 + 0.5) / 2)
    assert recovery.mcc(-C) == pytest.approx((0.8 + 0.5) / 2), "signs do not count"


def test_mcc_of_a_rotated_and_signed_truth_is_one():
    features = random(6, 4)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    atoms = features[order] * torch.tensor([1, -1, 2, 1, -3, 1])[:, None]
    assert recovery.mcc(recovery.cosines(features, atoms)) == pytest.approx(1)


def test_mcc_of_identical_atoms():
    C = recovery.cosines(torch.eye(3), E1.expand(3, -1))
    assert recovery.mcc(C) == pytest.approx(1 / 3)


def test_mcc_of_a_diverged_dictionary_is_undefined():
    assert math.isnan(recovery.mcc(torch.tensor([[0.5, math.nan]])))


# Uniqueness


def test_uniqueness_by_hand():
    atoms = torch.stack([E1, -E1, 0.9 * E1 + 0.1 * E2, E3])
    C = recovery.cosines(torch.eye(3), atoms)
    assert recovery.best_features(C).tolist() == [0, 0, 0, 2]
    assert recovery.uniqueness(C) == 2 / 4


@pytest.mark.parametrize(("atoms", "expected"), [(torch.eye(3), 1), (E1.expand(4, -1), 1 / 4)])
def test_uniqueness_at_its_ends(atoms: torch.Tensor, expected: float):
    assert recovery.uniqueness(recovery.cosines(torch.eye(3), atoms)) == expected


# Latents as detectors


@SOME
@given(
    latents=st.integers(1, 5),
    samples=st.integers(1, 30),
    rate=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_detection_against_scikit_learn(latents: int, samples: int, rate: float, seed: int):
    rng = np.random.default_rng(seed)
    fires = rng.random((samples, latents)) < rate
    truth = rng.random((samples, latents)) < rng.random(latents) * rate
    found = recovery.detection(
        hits=torch.from_numpy((fires & truth).sum(axis=0)),
        fires=torch.from_numpy(fires.sum(axis=0)),
        truths=torch.from_numpy(truth.sum(axis=0)),
        samples=samples,
    )
    columns = list(zip(truth.T, fires.T, strict=True))
    for name in ("precision", "recall", "f1"):
        score = getattr(sklearn_metrics, f"{name}_score")
        expected = np.mean([score(t, f, zero_division=0) for t, f in columns])
        assert found[name] == pytest.approx(expected), name
    accuracy = np.mean([sklearn_metrics.accuracy_score(t, f) for t, f in columns])
    assert found["accuracy"] == pytest.approx(accuracy)


def test_detection_by_hand():
    # A good latent, a dead one, one whose feature never fires, and a dead one of a dead feature.
    counts = {"hits": [8, 0, 0, 0], "fires": [10, 0, 5, 0], "truths": [16, 20, 0, 0]}
    tensors = {name: torch.tensor(count) for name, count in counts.items()}
    found = recovery.detection(**tensors, samples=100)
    assert found == pytest.approx(
        {
            "precision": 0.8 / 4,
            "recall": 0.5 / 4,
            "f1": (2 * 0.8 * 0.5 / 1.3) / 4,
            "accuracy": (0.90 + 0.80 + 0.95 + 1) / 4,
        }
    )
