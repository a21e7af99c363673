"""What a run keeps of its data."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from saesweep.config import DataConfig
from saesweep.data import ground_truth as module
from saesweep.data.batch import Batch
from saesweep.data.ground_truth import ground_truth
from saesweep.data.synthetic import SyntheticSource


def made(**changes: object) -> SyntheticSource:
    settings = {"activation_dim": 4, "n_features": 5, "mean_active": 1.5, "correlation": "sample"}
    return SyntheticSource(DataConfig.model_validate({**settings, **changes}), seed=2)


def test_shapes_and_where_they_come_from():
    source = made()
    truth = ground_truth(source, source.evaluation_set(4000))
    assert {name: tuple(tensor.shape) for name, tensor in truth.items()} == {
        "features": (5, 4),
        "gaussians": (5, 4),
        "probabilities": (5,),
        "sample_x": (12, 4),
        "sample_codes": (12, 5),
        "frequencies": (64, 5),
        "correlation": (5, 5),
        "firing_correlation": (5, 5),
    }
    assert all(tensor.is_contiguous() for tensor in truth.values())
    np.testing.assert_allclose(
        truth["sample_x"], truth["sample_codes"] @ truth["features"], atol=1e-6
    )
    np.testing.assert_allclose(truth["probabilities"], np.full(5, 0.3), rtol=1e-6)
    np.testing.assert_allclose(truth["correlation"], source.correlation, rtol=1e-6)


def test_firing_correlation_against_numpy():
    source = made()
    evaluation = source.evaluation_set(4000)
    truth = ground_truth(source, evaluation)
    expected = np.corrcoef((evaluation.codes_true > 0).float().numpy().T)
    np.testing.assert_allclose(truth["firing_correlation"], expected, atol=1e-5)


def test_a_feature_that_never_or_always_fires_correlates_with_nothing():
    source = made()
    codes = source.evaluation_set(1000).codes_true
    codes[:, 1], codes[:, 2] = 0, 0.5
    correlation = ground_truth(source, Batch(codes @ source.features, codes))["firing_correlation"]
    assert torch.isfinite(correlation).all()
    assert correlation[1:3].abs().max() == 0


def test_frequencies_are_shares_around_what_is_seen():
    source = made(correlation="none", empty_samples="keep")
    frequencies = ground_truth(source, source.evaluation_set(100))["frequencies"]
    # 64 batches of 1,024: the mean of the shares has the standard error of 65,536 samples.
    error = (0.3 * 0.7 / (64 * module.BATCH)) ** 0.5
    assert (frequencies.mean(dim=0) - 0.3).abs().max() < 5 * error
    assert frequencies.std(dim=0) == pytest.approx((0.3 * 0.7 / module.BATCH) ** 0.5, rel=0.4)


def test_without_correlation_there_is_no_matrix():
    source = made(correlation="none")
    assert "correlation" not in ground_truth(source, source.evaluation_set(100))


def test_of_many_features_the_first_pairs_are_kept_and_norms(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_PAIRS", 4)
    monkeypatch.setattr(module, "FIRST_PAIRS", 3)
    source = made()
    evaluation = source.evaluation_set(4000)
    truth = ground_truth(source, evaluation)
    assert "gaussians" not in truth
    np.testing.assert_allclose(
        truth["norms"], np.linalg.norm(source.gaussians.numpy(), axis=1), rtol=1e-6
    )
    expected = np.corrcoef((evaluation.codes_true[:, :3] > 0).float().numpy().T)
    np.testing.assert_allclose(truth["firing_correlation"], expected, atol=1e-5)


def test_of_some_laws_there_is_more():
    source = made(
        n_features=9,
        correlation="low_rank",
        correlation_rank=3,
        hierarchy={"roots": 2, "branching": 2, "depth": 1},
        magnitudes="half_normal",
        magnitude_mean=[3, 1],
        bias_norm=2,
    )
    evaluation = source.evaluation_set(4000)
    truth = ground_truth(source, evaluation)
    assert truth["loadings"].shape == (9, 3)
    assert truth["loadings"][2:6].abs().max() == 0  # the children
    assert truth["loadings"][[0, 1, 6, 7, 8]].abs().min() > 0
    assert float(truth["bias"].norm()) == pytest.approx(2)
    np.testing.assert_allclose(truth["magnitude_means"], np.linspace(3, 1, 9), rtol=1e-6)
    codes = evaluation.codes_true.numpy()
    measured = [codes[codes[:, i] > 0, i].mean() for i in range(9)]
    np.testing.assert_allclose(truth["measured_means"], measured, rtol=1e-5)
    assert np.abs(np.array(measured) / np.linspace(3, 1, 9) - 1).max() < 0.3


def test_it_stays_small_for_many_features():
    settings = {"activation_dim": 2, "n_features": 100_000, "mean_active": 10}
    source = SyntheticSource(DataConfig.model_validate(settings), seed=2)
    truth = ground_truth(source, source.evaluation_set(500))
    assert sum(tensor.nbytes for tensor in truth.values()) < 40e6
    assert float(truth["frequencies"].sum(dim=1).mean()) == pytest.approx(10, rel=0.01)


def test_one_feature():
    source = made(n_features=1, mean_active=0.5)
    truth = ground_truth(source, source.evaluation_set(100))
    assert truth["firing_correlation"].shape == (1, 1)
