"""The metrics that follow SAELens, against SAELens itself (with `pip install sae-lens`)."""

from __future__ import annotations

import importlib.util
import warnings

import pytest
import torch

from saesweep.config import DataConfig, ModelConfig, TrainConfig
from saesweep.data.synthetic import SyntheticSource
from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell
from saesweep.metrics.evaluate import full, snapshot
from saesweep.metrics.totals import EvaluationSet

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("sae_lens") is None, reason="no sae-lens is installed"
)


@pytest.mark.parametrize("size", [6, 9, 20])
def test_the_same_numbers_as_saelens(size: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_lens.evals import ExplainedVarianceCalculator
        from sae_lens.synthetic import evals
    config = DataConfig(activation_dim=6, n_features=9, mean_active=1.5, empty_samples="keep")
    source = SyntheticSource(config, seed=0)
    batch = source.evaluation_set(4000)
    cell = Cell("one", 0.1, size, 0, TrainConfig(), ModelConfig(), {})
    (group,) = Stack([cell], 6, seed=0).groups
    group.encoder[:, -1, ::4] = -100  # some are dead
    data = EvaluationSet(batch, source.features)
    (row,) = full(group, data, snapshot(group, data, threshold=0.8))

    sae = group.sae(0)
    latents = torch.relu(batch.x @ sae.W_enc + sae.b_enc)
    x_hat = latents @ sae.W_dec
    l0, dead = evals.L0Calculator(), evals.DeadLatentsCalculator(size)
    shrinkage, variance = evals.ShrinkageCalculator(), ExplainedVarianceCalculator()
    l0.add_batch(latents)
    dead.add_batch(latents)
    shrinkage.add_batch(x_hat, batch.x)
    variance.add_batch(x_hat, batch.x)
    codes = batch.codes_true
    classified = evals.compute_classification_metrics(latents, codes, sae.W_dec, source.features)
    expected = {
        "mcc": evals.mean_correlation_coefficient(sae.W_dec, source.features),
        "uniqueness": evals.feature_uniqueness(sae.W_dec, source.features),
        "precision": classified.precision,
        "recall": classified.recall,
        "f1": classified.f1_score,
        "accuracy": classified.accuracy,
        "l0": l0.compute(),
        "dead_neurons": dead.compute(),
        "shrinkage": shrinkage.compute(),
        "true_l0": (codes > 0).float().sum(dim=1).mean().item(),
        "fvu": 1 - variance.compute(),
    }
    for key, value in expected.items():
        assert row[key] == pytest.approx(value, rel=1e-5, abs=1e-7), key
