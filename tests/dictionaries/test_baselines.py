"""Baselines on data where the right answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from saesweep.config import DataConfig
from saesweep.data.batch import Batch
from saesweep.data.synthetic import SyntheticSource
from saesweep.dictionaries.baselines import fits
from saesweep.dictionaries.classical import references
from saesweep.dictionaries.classical.baseline import Baseline
from saesweep.dictionaries.classical.methods import METHODS
from saesweep.metrics.baselines import score
from saesweep.metrics.totals import EvaluationSet


def fit(
    name: str, batch: Batch, features: torch.Tensor, sizes: tuple[int, ...] = ()
) -> list[Baseline]:
    return [make() for _, make in fits([name], batch, features, sizes, seed=0)]


def toy() -> tuple[SyntheticSource, Batch]:
    config = DataConfig(activation_dim=3, n_features=5, mean_active=1.2, empty_samples="keep")
    source = SyntheticSource(config, seed=1)
    return source, source.evaluation_set(4000)


def test_pca_against_a_singular_value_decomposition():
    source, batch = toy()
    (pca,) = fit("pca", batch, source.features)
    x = batch.x.double().numpy()
    mean = x.mean(axis=0)
    _, _, directions = np.linalg.svd(x - mean, full_matrices=False)
    alignment = np.abs(np.sum(pca.atoms[0].numpy() * directions, axis=1))
    np.testing.assert_allclose(alignment, 1, atol=1e-4)
    assert pca.encode is not None
    latents, x_hat = pca.encode(batch)
    np.testing.assert_allclose(latents.abs(), np.abs((x - mean) @ directions.T), atol=1e-3)
    np.testing.assert_allclose(x_hat, x, atol=1e-5)  # of full rank it loses nothing


def test_pca_of_fewer_features_than_dimensions_still_reconstructs():
    config = DataConfig(activation_dim=8, n_features=3, mean_active=1.0)
    source = SyntheticSource(config, seed=0)
    batch = source.evaluation_set(1000)
    for name in ("pca", "ica"):
        (baseline,) = fit(name, batch, source.features)
        assert baseline.atoms.shape == (1, 3, 8)
        assert baseline.encode is not None
        np.testing.assert_allclose(baseline.encode(batch)[1], batch.x, atol=1e-4)


def test_ica_finds_independent_features_that_are_not_orthogonal():
    # As many independent, sparse, non-Gaussian sources as dimensions: what FastICA is made for.
    config = DataConfig(activation_dim=4, n_features=4, mean_active=1.0, empty_samples="keep")
    source = SyntheticSource(config, seed=0)
    batch = source.evaluation_set(16_384)
    (ica,) = fit("ica", batch, source.features)
    atoms = ica.atoms[0] / ica.atoms[0].norm(dim=1, keepdim=True)
    cosines = (source.features @ atoms.T).abs()
    assert cosines.max(dim=1).values.min() > 0.99
    assert sorted(cosines.argmax(dim=1).tolist()) == [0, 1, 2, 3]


def test_kmeans_finds_separated_clusters():
    centres = torch.tensor([[5.0, 0], [0, 5], [-5, -5]])
    labels = torch.arange(300) % 3
    noise = 0.01 * torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    batch = Batch(centres[labels] + noise, torch.zeros(300, 2))
    (kmeans,) = fit("kmeans", batch, torch.eye(2), sizes=(3,))
    found = kmeans.atoms[0]
    order = torch.cdist(centres, found).argmin(dim=1)
    assert sorted(order.tolist()) == [0, 1, 2]
    means = torch.stack([batch.x[labels == k].mean(dim=0) for k in range(3)])
    torch.testing.assert_close(found[order], means)
    assert kmeans.encode is not None
    latents, x_hat = kmeans.encode(batch)
    assert ((latents != 0).sum(dim=1) == 1).all()
    torch.testing.assert_close(x_hat, means[labels])
    # A latent times its unit atom is the centre.
    torch.testing.assert_close(latents @ (found / found.norm(dim=1, keepdim=True)), means[labels])


def test_clusters_are_refused_where_samples_are_too_few():
    source, batch = toy()
    few = Batch(batch.x[:80], batch.codes_true[:80])
    for name in ("kmeans", "kmedoids"):
        (made,) = fit(name, few, source.features, sizes=(10,))
        assert made.atoms.shape[1] == 10
        with pytest.raises(ValueError, match="needs 8 samples a cluster, 88 in all"):
            fit(name, few, source.features, sizes=(11,))


def test_every_method_has_as_many_atoms_as_it_says():
    source, batch = toy()
    few = Batch(batch.x[:200], batch.codes_true[:200])
    made = list(fits(list(METHODS), few, source.features, (4, 6), seed=0))
    sizes = {
        "truth": [5],
        **{
            key: [4, 6] if method.sized else [3]
            for key, method in METHODS.items()
            if key != "truth"
        },
    }
    assert len(made) == sum(map(len, sizes.values()))
    for _, make in made:
        baseline = make()
        assert baseline.atoms.shape[1:] == (sizes[baseline.name].pop(0), 3)
        if baseline.encode is not None:
            latents, x_hat = baseline.encode(few)
            assert latents.shape == (200, baseline.atoms.shape[1])
            assert x_hat.shape == (200, 3)


def test_random_atoms_are_chance():
    """In three dimensions the cosine with a random atom is uniform on [-1, 1].

    So the largest of m has mean (m - 1)/(m + 1) and variance 4 m / ((m + 1)² (m + 2)), and that is
    the MMCS to expect: 0.92 for the 24 atoms of the toy grid.
    """
    source, batch = toy()
    data = EvaluationSet(batch, source.features)
    for size in (6, 24, 48):
        (random,) = fit("random", batch, source.features, sizes=(size,))
        assert random.atoms.shape == (references.MOST_DRAWS, size, 3)
        torch.testing.assert_close(
            random.atoms.norm(dim=-1), torch.ones(references.MOST_DRAWS, size)
        )
        row = score(random, batch, data, threshold=0.9)
        expected = (size - 1) / (size + 1)
        # Only the draws count as independent: the features of one draw share its atoms.
        error = (4 * size / ((size + 1) ** 2 * (size + 2)) / references.MOST_DRAWS) ** 0.5
        assert row["mmcs"] == pytest.approx(expected, abs=5 * error)
        assert row["n_learned"] == pytest.approx(5 * (1 - 0.95**size), abs=5 * 0.25**0.5)
        assert np.isnan([row[key] for key in ("recon_loss", "l0", "precision", "fvu")]).all()


def test_the_truth_is_perfect():
    source, batch = toy()
    data = EvaluationSet(batch, source.features)
    (truth,) = fit("truth", batch, source.features)
    row = score(truth, batch, data, threshold=0.9)
    for key in ("mmcs", "mcc", "uniqueness", "precision", "recall", "f1", "accuracy"):
        assert row[key] == pytest.approx(1, abs=1e-6), key
    assert row["n_learned"] == 5
    assert row["dead_neurons"] == row["dead_fraction"] == 0
    assert row["recon_loss"] == pytest.approx(0, abs=1e-12)
    assert row["fvu"] == pytest.approx(0, abs=1e-12)
    codes = batch.codes_true.double().numpy()
    assert row["l0"] == row["true_l0"] == pytest.approx((codes > 0).sum() / len(codes))
    assert row["l1"] == pytest.approx(codes.sum() / len(codes), rel=1e-5)
    assert row["shrinkage"] == pytest.approx(1, rel=1e-5)


def test_a_signed_baseline_counts_every_latent_that_is_not_zero():
    source, batch = toy()
    data = EvaluationSet(batch, source.features)
    (pca,) = fit("pca", batch, source.features)
    row = score(pca, batch, data, threshold=0.9)
    assert pca.encode is not None
    latents, _ = pca.encode(batch)
    assert row["l0"] == pytest.approx((latents != 0).double().sum(dim=1).mean().item())
    assert row["l1"] == pytest.approx(latents.abs().double().sum(dim=1).mean().item(), rel=1e-5)
    assert row["recon_loss"] < 1e-9


def test_fits_do_not_touch_the_global_generators():
    source, batch = toy()
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    for name in ("pca", "ica", "kmeans", "random"):
        fit(name, batch, source.features, sizes=(4,))
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_the_truth_loses_nothing_and_has_the_right_coefficient_norm():
    config = DataConfig(
        activation_dim=6, n_features=9, mean_active=3.0, empty_samples="keep", bias_norm=2.0
    )
    source = SyntheticSource(config, seed=0)
    batch = source.evaluation_set(8192)
    ((_, make),) = fits(["truth"], batch, source.features, (), seed=0, bias=source.bias)
    row = score(make(), batch, EvaluationSet(batch, source.features), threshold=0.9)
    assert row["fvu"] == pytest.approx(0, abs=1e-10)
    assert row["f1"] == 1
    # Coefficients are uniform on [0, 1), so that those of 3 active features sum to 3/2 on average.
    assert row["coefficient_norm"] == pytest.approx(1.5, rel=0.02)
