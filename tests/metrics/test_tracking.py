"""What is kept of a dictionary over time."""

from __future__ import annotations

import pytest
import torch

from saesweep.metrics.tracking import Track


def test_small_cells_keep_their_atoms():
    track = Track(torch.tensor([0.5, 0.2]), keep_atoms=True)
    first = torch.tensor([[0.1, 0.9, -1.0], [0.3, 0.2, 0.1]])
    atoms = torch.randn(3, 4)
    track.add(0, 0, first, torch.tensor([True, False, False]), atoms)
    kept = atoms.clone()
    atoms.zero_()  # training goes on in the same memory
    track.add(10, 20, -first, torch.tensor([False, False, True]), atoms)
    tensors = track.tensors()
    assert tensors["epoch"].tolist() == [0, 10]
    assert tensors["step"].tolist() == [0, 20]
    expected = torch.tensor([[0.9, 0.3], [1.0, -0.1]])  # the largest signed cosine
    torch.testing.assert_close(tensors["best_cosine"], expected)
    assert tensors["best_atom"].tolist() == [[1, 0], [2, 2]]
    assert tensors["dead"].tolist() == [[True, False, False], [False, False, True]]
    assert torch.equal(tensors["atoms"], torch.stack([kept, torch.zeros(3, 4)]))
    assert "cosines" not in tensors


def test_large_cells_keep_cosines_of_the_most_probable_features():
    probabilities = torch.tensor([0.1, 0.9, 0.5])
    C = torch.tensor([[0.0, 0.1, 0.2, 0.8], [0.9, 0.2, 0.0, 0.1], [0.3, -0.5, 0.7, 0.25]])
    track = Track(probabilities, keep_atoms=False)
    track.add(0, 0, C, torch.zeros(4, dtype=torch.bool), torch.zeros(4, 2))
    tensors = track.tensors()
    # Features in the order 1, 2, 0; their best atoms 0, 2, 3.
    expected = torch.tensor([[0.9, 0.0, 0.1], [0.3, 0.7, 0.25], [0.0, 0.2, 0.8]])
    torch.testing.assert_close(tensors["cosines"][0].float(), expected, atol=1e-3, rtol=0)
    assert tensors["cosines"].dtype == torch.float16
    assert "atoms" not in tensors


@pytest.mark.parametrize(("n", "shown"), [(3, 3), (64, 64), (100, 64)])
def test_at_most_64_features_are_shown(n: int, shown: int):
    track = Track(torch.linspace(1, 0.5, n), keep_atoms=False)
    track.add(0, 0, torch.randn(n, 5), torch.zeros(5, dtype=torch.bool), torch.zeros(5, 2))
    assert track.tensors()["cosines"].shape == (1, shown, shown)
    assert track.tensors()["best_cosine"].shape == (1, n)
