"""Dictionaries that no gradient made: what a sparse autoencoder should be compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from saesweep.data.synthetic import Batch
from saesweep.seeding import stream, stream_seed

FIT_SAMPLES = 16_384
"""Samples that PCA, FastICA and k-means are fitted on."""
SAMPLES_PER_CLUSTER = 8
"""k-means with fewer samples a cluster finds samples, not clusters, and takes long to do so."""
MOST_DRAWS, LEAST_DRAWS, DRAWN_COSINES = 1024, 16, 1 << 22
"""Random dictionaries of each size; chance is the mean over them. One of 24 atoms in three
dimensions strays by 0.03, so that 16 would leave 0.008, as much as lies between cells; large ones
stray less, and get as many as have four million cosines with the features in all."""


@dataclass(frozen=True)
class Baseline:
    """A dictionary, and how it writes activations in it."""

    name: str
    atoms: Tensor
    """[draws, dict_size, d_in]; several draws only of random atoms"""
    encode: Callable[[Batch], tuple[Tensor, Tensor]] | None
    """latents [samples, dict_size] and x_hat [samples, d_in], or None where there is no encoder"""


def fits(
    names: Sequence[str], batch: Batch, features: Tensor, dict_sizes: Sequence[int], seed: int
) -> Iterator[tuple[str, Callable[[], Baseline]]]:
    """Each of the baselines ``names``: what to call it, and the function that fits it.

    They are fitted on ``batch``, data with ``features`` [n_features, d_in]; k-means and random
    atoms once for each of ``dict_sizes``.
    """
    x = batch.x.double()
    rank = min(features.shape)
    once = {
        "pca": partial(_pca, x, rank, seed),
        "ica": partial(_ica, x, rank, seed),
        "truth": partial(_truth, features),
    }
    for name in names:
        if name in once:
            yield name, once[name]
        for size in dict_sizes:
            if name == "kmeans" and size * SAMPLES_PER_CLUSTER <= len(x):
                yield f"kmeans of {size}", partial(_kmeans, x, size, seed)
            if name == "random":
                yield f"random of {size}", partial(_random, size, features, seed)


def _truth(features: Tensor) -> Baseline:
    """The true features as atoms, the true coefficients as latents."""
    return Baseline("truth", features[None], lambda b: (b.codes_true, b.codes_true @ features))


def _random(size: int, features: Tensor, seed: int) -> Baseline:
    """Many dictionaries of random unit atoms: chance."""
    draws = min(MOST_DRAWS, max(LEAST_DRAWS, DRAWN_COSINES // (size * max(features.shape))))
    shape = (draws, size, features.shape[1])
    atoms = torch.randn(shape, generator=stream(seed, "random", size))
    return Baseline("random", atoms / atoms.norm(dim=-1, keepdim=True), encode=None)


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

    ica = FastICA(
        n_components=rank, whiten="unit-variance", max_iter=400, random_state=_state(seed, "ica")
    )
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
