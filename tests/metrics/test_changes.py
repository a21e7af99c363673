"""Features learned, moved and lost, on sequences of dictionaries written by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from saesweep.metrics.changes import (
    CLASSES,
    counts,
    feature_changes,
    latent_changes,
    mean_cosines,
    when_learned,
)
from saesweep.metrics.tracking import Track
from saesweep.run_folder import Run

E1, E2, E3, E4, E5 = torch.eye(5)
FEATURES = torch.stack([E1, E2, E3, E4])
# Three atoms at four snapshots. What becomes of the features: the first is learned by atom 0, then
# by atom 2; the second is learned by atom 1 and lost; the third learned, lost and learned by
# another atom; the fourth never is.
SCRIPT = [
    torch.stack([E1, E5, (E2 + E3) / 2**0.5]),
    torch.stack([E1, E2, E3]),
    torch.stack([E5, E2, E1]),
    torch.stack([E3, 0.8 * E2 + 0.6 * E5, E1]),
]
EPOCHS = np.array([0, 1, 5, 50])


@pytest.fixture
def scripted() -> dict[str, np.ndarray]:
    """What `Track` records of the script."""
    track = Track(torch.ones(4), keep_atoms=True)
    for epoch, atoms in zip(EPOCHS, SCRIPT, strict=True):
        dead = torch.zeros(3, dtype=torch.bool)
        track.add(int(epoch), 4 * int(epoch), FEATURES @ atoms.T, dead, atoms)
    return {name: tensor.numpy() for name, tensor in track.tensors().items()}


def test_a_scripted_sequence_of_dictionaries(scripted: dict[str, np.ndarray]):
    masks = feature_changes(scripted["best_cosine"], scripted["best_atom"], 0.9)
    found = {name: [np.flatnonzero(row).tolist() for row in mask] for name, mask in masks.items()}
    assert found == {
        "learned": [[0], [0, 1, 2], [0, 1], [0, 2]],
        "newly_learned": [[0], [1, 2], [], [2]],
        "unlearned": [[], [], [2], [1]],
        "same_atom": [[], [0], [1], [0]],
        "moved": [[], [], [0], []],
    }
    assert {name: n.tolist() for name, n in counts(masks).items()} == {
        "learned": [1, 3, 2, 2],
        "newly_learned": [1, 2, 0, 1],
        "unlearned": [0, 0, 1, 1],
        "same_atom": [0, 1, 1, 1],
        "moved": [0, 0, 1, 0],
    }
    first, for_good = when_learned(EPOCHS, masks["learned"])
    assert first.tolist() == [0, 1, 1, np.inf]
    assert for_good.tolist() == [0, np.inf, 50, np.inf]


def test_mean_cosines_of_the_script(scripted: dict[str, np.ndarray]):
    masks = feature_changes(scripted["best_cosine"], scripted["best_atom"], 0.9)
    means = mean_cosines(scripted["best_cosine"], masks)
    half = 2**-0.5
    expected = {
        "mean_cosine": [(1 + 2 * half) / 4, 3 / 4, 2 / 4, (1 + 0.8 + 1) / 4],
        "mean_cosine_learned": [1, 1, 1, 1],
        "mean_cosine_newly_learned": [1, 1, np.nan, 1],
        "mean_cosine_unlearned": [np.nan, np.nan, 0, 0.8],
        "mean_cosine_same_atom": [np.nan, 1, 1, 1],
        "mean_cosine_moved": [np.nan, np.nan, 1, np.nan],
    }
    assert set(means) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(means[name], values, atol=1e-6, err_msg=name)


def test_classes_against_the_words_of_the_definition():
    generator = np.random.default_rng(0)
    cosine = generator.uniform(0.8, 1, (12, 40)).astype(np.float32)
    atom = generator.integers(0, 3, (12, 40))
    masks = feature_changes(cosine, atom, 0.9)
    for t in range(12):
        for i in range(40):
            now = cosine[t, i] > np.float32(0.9)
            before = t > 0 and cosine[t - 1, i] > np.float32(0.9)
            word = {
                (True, False): "newly_learned",
                (False, True): "unlearned",
                (True, True): "same_atom" if atom[t, i] == atom[t - 1, i] else "moved",
                (False, False): None,
            }[bool(now), bool(before)]
            assert [name for name in CLASSES if masks[name][t, i]] == [word] * (word is not None)
            assert masks["learned"][t, i] == now


def test_nothing_comes_from_nowhere():
    generator = np.random.default_rng(1)
    n = counts(feature_changes(generator.random((30, 50)), generator.integers(0, 2, (30, 50)), 0.5))
    np.testing.assert_array_equal(n["learned"], n["newly_learned"] + n["same_atom"] + n["moved"])
    np.testing.assert_array_equal(
        n["learned"][:-1], n["same_atom"][1:] + n["moved"][1:] + n["unlearned"][1:]
    )
    assert n["newly_learned"][0] == n["learned"][0]


def test_exactly_at_the_threshold_is_not_learned_and_nor_is_what_is_no_number():
    cosine = np.array([[0.9, np.nan, np.nextafter(np.float32(0.9), np.float32(1))]], np.float32)
    masks = feature_changes(cosine, np.zeros((1, 3), int), 0.9)
    assert masks["learned"].tolist() == [[False, False, True]]


def test_latents_that_die_and_revive():
    dead = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0]], dtype=bool)
    changes = latent_changes(dead)
    assert changes["newly_dead"].astype(int).tolist() == [
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 0],
        [1, 0, 0],
    ]
    assert changes["revived"].astype(int).tolist() == [[0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert counts(changes)["dead"].tolist() == [1, 2, 1, 1]


def test_when_features_are_learned_against_a_search():
    generator = np.random.default_rng(2)
    epoch = np.cumsum(generator.integers(1, 9, 7))
    learned = generator.random((7, 300)) < 0.7
    first, for_good = when_learned(epoch, learned)
    for i, course in enumerate(learned.T.tolist()):
        assert first[i] == (epoch[course.index(True)] if any(course) else np.inf)
        stays = [t for t in range(7) if all(course[t:])]
        assert for_good[i] == (epoch[min(stays)] if stays else np.inf)


def test_agrees_with_what_was_measured_while_training(finished: Run):
    threshold = finished.config.eval.learned_threshold
    for cell in finished.cells:
        snapshots, history = finished.snapshots(cell), finished.history(cell)
        masks = feature_changes(snapshots["best_cosine"], snapshots["best_atom"], threshold)
        np.testing.assert_array_equal(counts(masks)["learned"], history["n_learned"])
        means = mean_cosines(snapshots["best_cosine"], masks)
        np.testing.assert_allclose(means["mean_cosine"], history["mmcs"], atol=1e-6)
        dead = counts(latent_changes(snapshots["dead"]))["dead"]
        np.testing.assert_array_equal(dead, history["dead_neurons"])
