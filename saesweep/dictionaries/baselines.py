"""Dictionaries that no gradient made: what a sparse autoencoder should be compared with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saesweep.data.synthetic import Batch
from saesweep.seeding import stream, stream_seed

FIT_SAMPLES = 16_384
"""Samples that PCA, FastICA and k-means are fitted on."""
SAMPLES_PER_CLUSTER = 8
"""k-means with fewer samples a cluster finds samples, not clusters, and takes long to do so."""
RANDOM_DRAWS = 16
"""Random dictionaries of each size; chance is the mean over them."""


@dataclass(frozen=True)
class Baseline:
    """A dictionary, and how it writes activations in it."""

    name: str
    atoms: Tensor
    """[draws, dict_size, d_in]; several draws only of random atoms"""
    encode: Callable[[Batch], tuple[Tensor, Tensor]] | None
    """latents [samples, dict_size] and x_hat [samples, d_in], or None where there is no encoder"""


def baselines(
    names: Sequence[str], batch: Batch, features: Tensor, dict_sizes: Sequence[int], seed: int
) -> Iterator[Baseline]:
    """The baselines ``names``, fitted on samples ``batch`` of data with ``features`` [n, d_in]."""
    x = batch.x[:FIT_SAMPLES].double().cpu()
    if "pca" in names:
        yield _pca(x, rank=min(features.shape), seed=seed)
    if "ica" in names:
        yield _ica(x, rank=min(features.shape), seed=seed)
    for size in dict_sizes:
        if "kmeans" in names and size * SAMPLES_PER_CLUSTER <= len(x):
            yield _kmeans(x, size, seed)
    for size in dict_sizes:
        if "random" in names:
            atoms = torch.randn(
                RANDOM_DRAWS, size, x.shape[1], generator=stream(seed, "random", size)
            )
            atoms = atoms / atoms.norm(dim=-1, keepdim=True)
            yield Baseline("random", atoms, encode=None)
    if "truth" in names:
        yield Baseline(
            "truth", features[None], lambda batch: (batch.codes_true, batch.codes_true @ features)
        )


def _state(seed: int, name: str) -> int:
    return stream_seed(seed, name) % 2**32  # scikit-learn's seeds have 32 bits


def _linear(name: str, unmix: Tensor, atoms: Tensor, mean: Tensor) -> Baseline:
    """Latents = (x - mean) unmix [d_in, size]; x_hat = latents atoms [size, d_in] + mean [d_in]."""

    def encode(batch: Batch) -> tuple[Tensor, Tensor]:
        latents = (batch.x - mean) @ unmix
        return latents, latents @ atoms + mean

    return Baseline(name, atoms[None], encode)


def _pca(x: Tensor, rank: int, seed: int) -> Baseline:
    """Principal components as atoms, projections as latents."""
    from sklearn.decomposition import PCA

    pca = PCA(n_components=rank, random_state=_state(seed, "pca")).fit(x.numpy())
    components = torch.from_numpy(pca.components_).float()
    return _linear("pca", components.T, components, torch.from_numpy(pca.mean_).float())


def _ica(x: Tensor, rank: int, seed: int) -> Baseline:
    """FastICA: columns of the mixing matrix as atoms, sources as latents."""
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    ica = FastICA(
        n_components=rank, whiten="unit-variance", max_iter=400, random_state=_state(seed, "ica")
    )
    with warnings.catch_warnings():
        # Overcomplete features are not independent components: it may never settle.
        warnings.simplefilter("ignore", ConvergenceWarning)
        ica.fit(x.numpy())
    unmix, mixing = (torch.from_numpy(m.T.copy()).float() for m in (ica.components_, ica.mixing_))
    return _linear("ica", unmix, mixing, torch.from_numpy(ica.mean_).float())


def _kmeans(x: Tensor, size: int, seed: int) -> Baseline:
    """Cluster centres as atoms; a sample's one latent is its centre's norm."""
    from sklearn.cluster import KMeans

    kmeans = KMeans(size, n_init=1, max_iter=100, random_state=_state(seed, "kmeans")).fit(
        x.numpy()
    )
    centres = torch.from_numpy(kmeans.cluster_centers_).float()
    norms = centres.norm(dim=1)

    def encode(batch: Batch) -> tuple[Tensor, Tensor]:
        nearest = torch.cdist(batch.x, centres).argmin(dim=1)
        latents = torch.zeros(len(batch.x), size)
        latents[torch.arange(len(nearest)), nearest] = norms[nearest]
        return latents, centres[nearest]

    return Baseline("kmeans", centres[None], encode)
