"""Calibration, against a case by hand and scikit-learn."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from saesweep.metrics.calibration import BINS, Calibration


def measured(*parts: tuple[torch.Tensor, torch.Tensor]) -> dict[str, float]:
    sums = Calibration(torch.device("cpu"))
    for probabilities, truth in parts:
        sums.add(probabilities, truth)
    return sums.metrics()


def test_by_hand():
    """Bins 1/15 wide: three at 0.5, of which two are true, two at 0.9 with one, one at 1."""
    said = torch.tensor([[0.5, 0.5, 0.5], [0.9, 0.9, 1.0]])
    truth = torch.tensor([[1, 1, 0], [1, 0, 1]]).bool()
    found = measured((said, truth))
    assert found["brier"] == pytest.approx((3 * 0.25 + 0.01 + 0.81 + 0) / 6)
    # |2 - 1.5| + |1 - 1.8| + |1 - 1|: of six
    assert found["calibration_error"] == pytest.approx((0.5 + 0.8) / 6)


def test_ends_and_bins():
    """0 and 1 have bins, and neighbours on one side of an edge do not cancel across it."""
    said = torch.tensor([[0.0, 1.0, 1 / 15 - 1e-4, 1 / 15 + 1e-4]], dtype=torch.float64)
    truth = torch.tensor([[False, True, True, False]])
    found = measured((said, truth))
    assert found["calibration_error"] == pytest.approx((1 - (1 / 15 - 1e-4) + 1 / 15 + 1e-4) / 4)


def drawn(*, honest: bool) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    said = torch.rand(5000, 8, generator=generator, dtype=torch.float64)
    chance = said if honest else said.square()
    return said, torch.rand(said.shape, generator=generator, dtype=torch.float64) < chance


@pytest.mark.parametrize("honest", [False, True])
def test_against_scikit_learn(honest: bool):
    said, truth = drawn(honest=honest)
    found = measured((said, truth))
    flat, true = said.flatten().numpy(), truth.flatten().numpy()
    assert found["brier"] == pytest.approx(brier_score_loss(true, flat))
    shares, means = calibration_curve(true, flat, n_bins=BINS)
    counts = torch.histc(said, bins=BINS, min=0, max=1).numpy()
    expected = (abs(shares - means) * counts).sum() / len(flat)
    assert found["calibration_error"] == pytest.approx(expected, rel=1e-6)
    # E|p² - p| is 1/6; what is said honestly is off by noise alone.
    assert found["calibration_error"] == pytest.approx(0 if honest else 1 / 6, abs=0.01)


def test_in_parts_it_is_the_same():
    said, truth = drawn(honest=False)
    parts = measured((said[:700], truth[:700]), (said[700:], truth[700:]))
    assert parts == pytest.approx(measured((said, truth)))


def test_of_nothing_nothing_is_said():
    assert all(math.isnan(value) for value in measured().values())
