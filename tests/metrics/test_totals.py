"""Sums over the evaluation set, against the same sums written plainly in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saesweep.data.batch import Batch
from saesweep.metrics.totals import EvaluationSet, Totals


def evaluation(samples: int, d: int = 3, n: int = 4, seed: int = 0) -> EvaluationSet:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, d, generator=generator)
    codes = torch.rand(samples, n, generator=generator) - 0.6
    return EvaluationSet(Batch(x, codes.clamp(min=0)), torch.eye(n, d))


def test_what_depends_on_the_samples_alone():
    x = torch.tensor([[3.0, 4], [0, 0], [-3, 0], [1e-7, 0]])
    codes = torch.tensor([[0.5, 0.1], [0, 0], [0, 0.2], [0, 0]])
    data = EvaluationSet(Batch(x, codes), torch.eye(2))
    assert len(data) == 4
    assert data.true_l0 == 3 / 4
    assert data.feature_counts.tolist() == [1, 2]
    # Mean (0, 1) but for 1e-7: 9 + 9 + 0 + 9 + 1 + 9 + 1 + 0 …
    assert data.variance.item() == pytest.approx(9 + 9 + 9 + 3 * 1, rel=1e-6)
    # The samples of norm 0 and 1e-7 are too short to say anything of shrinkage.
    assert data.counted.item() == 2
    torch.testing.assert_close(data.inverse_norms, torch.tensor([0.2, 0, 1 / 3, 0]))


@settings(derandomize=True, database=None, deadline=None, max_examples=50)
@given(
    samples=st.integers(1, 40),
    chunk=st.integers(1, 40),
    cells=st.integers(1, 3),
    size=st.integers(1, 5),
    signed=st.booleans(),
)
def test_sums_in_chunks(samples: int, chunk: int, cells: int, size: int, signed: bool):
    data = evaluation(samples, seed=samples)
    rng = np.random.default_rng(chunk)
    latents = rng.standard_normal((cells, samples, size))
    latents = np.where(rng.random(latents.shape) < 0.5, 0, latents if signed else np.abs(latents))
    x_hat = rng.standard_normal((cells, samples, 3))
    bias = rng.standard_normal((cells, 1, 3))

    totals = Totals.zero(cells, size, data)
    for start in range(0, samples, chunk):
        place = slice(start, start + chunk)
        parts = (torch.from_numpy(a[:, place]).float().clone() for a in (np.abs(latents), x_hat))
        totals.add(data, start, *parts, torch.from_numpy(bias).float())

    x = data.x.double().numpy()
    norms = np.linalg.norm(x, axis=1)
    expected = {
        "squared_error": ((x - x_hat) ** 2).sum(axis=(1, 2)),
        "latent_sum": np.abs(latents).sum(axis=(1, 2)),
        "made_square": ((x_hat - bias) ** 2).sum(axis=(1, 2)),
        "made_product": ((x_hat - bias) * x).sum(axis=(1, 2)),
        "made_sum": (x_hat - bias).sum(axis=1),
        "norm_ratios": (np.linalg.norm(x_hat, axis=2) / norms).sum(axis=1),
        "fires": (latents != 0).sum(axis=1),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(totals, name), value, rtol=1e-5, atol=1e-5, err_msg=name)


def test_counts_are_exact_in_a_large_set():
    samples = 70_001
    data = evaluation(samples, d=1, n=1)
    totals = Totals.zero(1, 2, data)
    for start in range(0, samples, 4096):
        count = min(4096, samples - start)
        latents = torch.stack([torch.ones(1, count), torch.zeros(1, count)], dim=2)
        totals.add(data, start, latents, torch.zeros(1, count, 1))
    assert totals.fires.tolist() == [[samples, 0]]
    assert totals.latent_sum.item() == samples


def test_a_cell_of_nan_does_not_touch_its_neighbour():
    data = evaluation(50)
    latents, x_hat = torch.ones(2, 50, 4), torch.zeros(2, 50, 3)
    latents[0], x_hat[0] = torch.nan, torch.nan
    totals = Totals.zero(2, 4, data)
    totals.add(data, 0, latents, x_hat)
    assert totals.squared_error[0].isnan()
    assert totals.squared_error[1].item() == pytest.approx(data.x.double().square().sum().item())
    assert totals.latent_sum[1].item() == 200
    assert totals.fires[1].tolist() == [50] * 4
